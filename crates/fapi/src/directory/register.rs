//! The data recipients of the Consumer Data Right: `ResponseRegisterDataRecipientList` of the Consumer Data Standards, version 3 of Get
//! Data Recipients, or 2.

use serde::Deserialize;

use super::document::{Element, Kept, NotADirectory, Word};
use super::facts::{Directory, Standing};

/// Reads the list, which has to be whole.
pub(super) fn read(document: &[u8]) -> Result<Directory, NotADirectory> {
    let List { recipients, links } = serde_json::from_slice(document)?;
    if links.is_some_and(|links| links.next != Word::Nothing) {
        return Err(NotADirectory::Partial);
    }
    let mut directory = Directory::default();
    for Known { id, standing, products } in recipients.0 {
        for (product, standing) in products {
            directory.add_software(&product, &id, standing, None)?;
        }
        directory.add_organisation(&id, standing, Vec::new())?;
    }
    Ok(directory)
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "data")]
    recipients: Kept<Recipient>,
    #[serde(default)]
    links: Option<Links>,
}

#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    next: Word,
}

#[derive(Deserialize)]
struct Recipient {
    #[serde(rename = "legalEntityId", default)]
    id: Word,
    /// `ACTIVE`, `SUSPENDED`, `REVOKED` or `SURRENDERED`.
    #[serde(default)]
    status: Word,
    #[serde(rename = "dataRecipientBrands", default)]
    brands: Kept<Brand>,
}

struct Known {
    id: Box<str>,
    standing: Standing,
    products: Vec<(Box<str>, Standing)>,
}

impl Element for Recipient {
    type Kept = Known;

    fn kept(self) -> Option<Known> {
        let Self { id, status, brands } = self;
        let products = brands.0.into_iter().flatten().collect();
        Some(Known { id: id.id()?, standing: status.standing(ACTIVE), products })
    }
}

#[derive(Deserialize)]
struct Brand {
    /// `ACTIVE`, `INACTIVE` or `REMOVED`.
    #[serde(default)]
    status: Word,
    #[serde(rename = "softwareProducts", default)]
    products: Kept<Product>,
}

/// Software is not active beyond its brand.
impl Element for Brand {
    type Kept = Vec<(Box<str>, Standing)>;

    fn kept(self) -> Option<Self::Kept> {
        let of_brand = match self.status.standing(ACTIVE) {
            Standing::Active => Standing::Active,
            Standing::Inactive(why) => Standing::Inactive(format!("of a brand that is {why}").into()),
        };
        let products = self.products.0.into_iter();
        Some(products.map(|(id, standing)| (id, standing.and(of_brand.clone()))).collect())
    }
}

#[derive(Deserialize)]
struct Product {
    #[serde(rename = "softwareProductId", default)]
    id: Word,
    /// `ACTIVE`, `INACTIVE` or `REMOVED`.
    #[serde(default)]
    status: Word,
}

impl Element for Product {
    type Kept = (Box<str>, Standing);

    fn kept(self) -> Option<Self::Kept> {
        Some((self.id.id()?, self.status.standing(ACTIVE)))
    }
}

const ACTIVE: &str = "ACTIVE";
