//! Documents in the public forms, each of which differs from a good one in one thing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn directory(format: Format, document: &Value) -> Directory {
    format.parse(document.to_string().as_bytes()).unwrap()
}

/// What a directory says of these ids and roles, as a word.
fn said(directory: &Directory, organisation: &str, software: &str, roles: &[&str]) -> &'static str {
    let id = |id: &'static str| Some(id).filter(|id| !id.is_empty());
    let (organisation, software) = (organisation.to_owned().leak(), software.to_owned().leak());
    let participant = Participant { organisation: id(organisation), software: id(software) };
    let roles: Vec<Box<str>> = roles.iter().map(|role| (*role).into()).collect();
    match directory.check(&participant, &roles) {
        Ok(()) => "active",
        Err(ParticipantError::Unnamed(_)) => "unnamed",
        Err(ParticipantError::Unknown { what: Kind::Organisation, .. }) => "unknown",
        Err(ParticipantError::Unknown { what: Kind::Software, .. }) => "unknown software",
        Err(ParticipantError::Unrelated { .. }) => "unrelated",
        Err(ParticipantError::Inactive { what: Kind::Organisation, .. }) => "inactive",
        Err(ParticipantError::Inactive { what: Kind::Software, .. }) => "inactive software",
        Err(ParticipantError::RoleMissing { .. }) => "role",
        Err(error @ (ParticipantError::NeverRead | ParticipantError::TooOld { .. })) => panic!("{error}"),
    }
}

/// As the directory of Open Finance Brasil publishes it, with what is passed over.
fn participants() -> Value {
    let organisation = |id: &str, status: &str, roles: Value| {
        json!({
            "OrganisationId": id, "Status": status, "OrganisationName": "Banco", "CreatedOn": "2020-12-18 17:53:49.832",
            "RegistrationNumber": "13353236000189", "RegistrationId": null, "Tags": [], "Size": null,
            "AuthorisationServers": [{ "AuthorisationServerId": "6850e112", "ApiResources": [{ "Status": "Inactive" }] }],
            "OrgDomainClaims": [{ "AuthorisationDomainName": "Open Banking", "Status": "Active" }],
            "OrgDomainRoleClaims": roles,
        })
    };
    let role = |role: &str, status: &str| json!({ "Role": role, "Status": status, "AuthorisationDomain": "Open Banking", "Authorisations": [] });
    json!([
        organisation("b961c4eb", "Active", json!([role("DADOS", "Active"), role("PAGTO", "Inactive")])),
        organisation("c0ffee00", "Withdrawn", json!([role("DADOS", "Active")])),
        organisation("d15ea5e0", "Active", Value::Null),
    ])
}

#[test]
fn br_10_an_organisation_is_active_with_its_active_roles() {
    let brazil = directory(Format::Brazil, &participants());
    assert_eq!(brazil.len(), (3, 0));
    for (id, roles, expected) in [
        ("b961c4eb", &[][..], "active"),             // control
        ("b961c4eb", &["DADOS"], "active"),          // control
        ("b961c4eb", &["CONTA", "DADOS"], "active"), // one of them is enough
        ("b961c4eb", &["PAGTO"], "role"),
        ("b961c4eb", &["dados"], "role"),
        ("c0ffee00", &["DADOS"], "inactive"),
        ("d15ea5e0", &[], "active"),
        ("d15ea5e0", &["DADOS"], "role"),
        ("B961C4EB", &[], "unknown"),
        ("b961c4e", &[], "unknown"),
        ("", &[], "unnamed"),
    ] {
        assert_eq!(said(&brazil, id, "", roles), expected, "{id} {roles:?}");
    }
    assert_eq!(said(&brazil, "b961c4eb", "any", &[]), "unknown software", "software has no part in it");
}

#[test]
fn only_what_is_said_to_be_active_is() {
    for (status, expected) in [
        (json!("Active"), "active"), // control
        (json!("active"), "inactive"),
        (json!("ACTIVE"), "inactive"),
        (json!("Active "), "inactive"),
        (json!("Pending"), "inactive"),
        (json!("Something new"), "inactive"),
        (json!(""), "inactive"),
        (json!(true), "inactive"),
        (json!(1), "inactive"),
        (json!(["Active"]), "inactive"),
        (json!({ "Status": "Active" }), "inactive"),
        (Value::Null, "inactive"),
    ] {
        let brazil = directory(Format::Brazil, &json!([{ "OrganisationId": "a", "Status": status }]));
        assert_eq!(said(&brazil, "a", "", &[]), expected, "{status}");
    }
    let without = directory(Format::Brazil, &json!([{ "OrganisationId": "a" }]));
    assert_eq!(said(&without, "a", "", &[]), "inactive");
    let role = |claim: Value| {
        let organisation = json!({ "OrganisationId": "a", "Status": "Active", "OrgDomainRoleClaims": [claim] });
        said(&directory(Format::Brazil, &json!([organisation])), "a", "", &["DADOS"])
    };
    assert_eq!(role(json!({ "Role": "DADOS", "Status": "Active" })), "active"); // control
    for claim in [
        json!({ "Role": "DADOS" }),
        json!({ "Role": "DADOS", "Status": "Inactive" }),
        json!({ "Role": ["DADOS"], "Status": "Active" }),
        json!({ "Status": "Active" }),
        json!({}),
    ] {
        assert_eq!(role(claim.clone()), "role", "{claim}");
    }
}

#[test]
fn one_that_is_named_twice_is_what_both_entries_say() {
    let entry = |status: &str, roles: &[&str]| {
        let claims: Vec<_> = roles.iter().map(|role| json!({ "Role": role, "Status": "Active" })).collect();
        json!({ "OrganisationId": "a", "Status": status, "OrgDomainRoleClaims": claims })
    };
    let of = |entries: Value, role: &str| said(&directory(Format::Brazil, &entries), "a", "", &[role]);
    let (good, other) = (entry("Active", &["DADOS", "PAGTO"]), entry("Active", &["DADOS"]));
    assert_eq!(of(json!([good]), "PAGTO"), "active"); // control
    assert_eq!(of(json!([good, good]), "PAGTO"), "active"); // control
    assert_eq!((of(json!([good, other]), "DADOS"), of(json!([good, other]), "PAGTO")), ("active", "role"));
    for both in [json!([good, entry("Withdrawn", &["DADOS"])]), json!([entry("Withdrawn", &["DADOS"]), good])] {
        assert_eq!(of(both, "DADOS"), "inactive");
    }
}

/// As the directory of Open Banking in the UK answered to `/OBThirdPartyProviders`.
fn scim() -> Value {
    let authorisation =
        |role: &str, state: &str, active: bool| json!({ "Psd2Role": role, "MemberState": state, "Active": active });
    let statement = |id: &str, active: bool, roles: Value| json!({ "Id": id, "ClientId": id, "Active": active, "Roles": roles, "Mode": "Live", "Version": 1.1 });
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 3, "startIndex": 1, "itemsPerPage": 3,
        "Resources": [
            {
                "id": "0015800001041REAAY",
                "urn:openbanking:organisation:1.0": {
                    "OBOrganisationId": "0015800001041REAAY", "OrganisationCommonName": "TPP", "status": "Active",
                },
                "urn:openbanking:competentauthorityclaims:1.0": {
                    "AuthorityId": "FCAGBR", "RegistrationId": "123",
                    "Authorisations": [
                        authorisation("AISP", "GB", true),
                        authorisation("PISP", "GB", false),
                        authorisation("PISP", "IE", true),
                        authorisation("CBPII", "GB", true),
                    ],
                },
                "urn:openbanking:softwarestatement:1.0": {
                    "SoftwareStatements": [
                        statement("ebSqTNqmQXFYz6VtWGXZAa", true, json!(["AISP", "PISP"])),
                        statement("Y6NjA9TOn3aMm9GaPtLwkp", false, json!(["AISP"])),
                        statement("4Yvqd4ikCTPDBfqsZLQLJc", true, Value::Null),
                    ],
                },
            },
            {
                "urn:openbanking:organisation:1.0": { "OBOrganisationId": "0015800001041REAAZ", "status": "Revoked" },
                "urn:openbanking:softwarestatement:1.0": {
                    "SoftwareStatements": [statement("7Umx5nTR33811QyQfi", true, json!(["AISP"]))],
                },
            },
            { "urn:openbanking:competentauthorityclaims:1.0": { "AuthorityId": "FCAGBR" } },
        ],
    })
}

#[test]
fn uk_16_a_provider_has_a_role_where_it_holds_it_and_its_software_those_that_it_was_given() {
    let uk = directory(Format::Uk, &scim());
    assert_eq!(uk.len(), (2, 4));
    let (tpp, revoked) = ("0015800001041REAAY", "0015800001041REAAZ");
    for (organisation, software, roles, expected) in [
        (tpp, "", &["AISP"][..], "active"),                   // control
        (tpp, "ebSqTNqmQXFYz6VtWGXZAa", &["AISP"], "active"), // control
        ("", "ebSqTNqmQXFYz6VtWGXZAa", &["AISP"], "active"),  // control
        ("", "4Yvqd4ikCTPDBfqsZLQLJc", &["CBPII"], "active"), // nothing is said of its own
        (tpp, "", &["PISP"], "role"),                         // no longer here, although in Ireland
        (tpp, "ebSqTNqmQXFYz6VtWGXZAa", &["CBPII"], "role"),  // it was not given this one
        (tpp, "ebSqTNqmQXFYz6VtWGXZAa", &["PISP"], "role"),   // its organisation lost it
        (tpp, "Y6NjA9TOn3aMm9GaPtLwkp", &[], "inactive software"),
        (tpp, "7Umx5nTR33811QyQfi", &[], "unrelated"),
        (revoked, "7Umx5nTR33811QyQfi", &[], "inactive"),
        ("", "7Umx5nTR33811QyQfi", &[], "inactive"),
        (revoked, "", &[], "inactive"),
        (tpp, "unheard-of", &[], "unknown software"),
    ] {
        assert_eq!(said(&uk, organisation, software, roles), expected, "{organisation} {software} {roles:?}");
    }
}

#[test]
fn uk_16_an_authorisation_is_active_in_either_way_in_which_that_is_written() {
    let role = |more: Value| {
        let mut authorisation = json!({ "Psd2Role": "AISP", "MemberState": "GBR" });
        authorisation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let document = json!({ "Resources": [{
            "urn:openbanking:organisation:1.0": { "OBOrganisationId": "a", "Status": "Active" },
            "urn:openbanking:competentauthorityclaims:1.0": { "Authorisations": [authorisation] },
        }] });
        said(&directory(Format::Uk, &document), "a", "", &["AISP"])
    };
    for good in
        [json!({ "Active": true }), json!({ "Status": "Active" }), json!({ "Active": true, "Status": "Active" })]
    {
        assert_eq!(role(good.clone()), "active", "{good}"); // control
    }
    for bad in [
        json!({}),
        json!({ "Active": false }),
        json!({ "Active": "true" }),
        json!({ "Status": "Withdrawn" }),
        json!({ "Active": true, "Status": "Withdrawn" }),
        json!({ "Active": false, "Status": "Active" }),
        json!({ "Active": "Active" }),
        json!({ "Active": null, "Status": null }),
        json!({ "Active": true, "MemberState": "IE" }),
        json!({ "Active": true, "MemberState": null }),
    ] {
        assert_eq!(role(bad.clone()), "role", "{bad}");
    }
}

#[test]
fn uk_16_a_list_of_participants_is_read_as_such() {
    let uk = directory(Format::Uk, &participants());
    assert_eq!((said(&uk, "b961c4eb", "", &["DADOS"]), said(&uk, "c0ffee00", "", &[])), ("active", "inactive"));
    assert!(Format::Brazil.parse(scim().to_string().as_bytes()).is_err(), "the other way round it is not");
}

/// As the register of the Consumer Data Right answers to `/cdr-register/v1/all/data-recipients`.
fn register() -> Value {
    let product = |id: &str, status: &str| json!({ "softwareProductId": id, "softwareProductName": "app", "logoUri": "https://a", "status": status });
    let brand = |id: &str, status: &str, products: Value| json!({ "dataRecipientBrandId": id, "brandName": "brand", "status": status, "softwareProducts": products });
    let recipient = |id: &str, status: &str, brands: Value| {
        json!({
            "legalEntityId": id, "legalEntityName": "ADR", "accreditationNumber": "ADR1", "accreditationLevel": "UNRESTRICTED",
            "status": status, "lastUpdated": "2021-04-22T12:00:00Z", "dataRecipientBrands": brands,
        })
    };
    json!({
        "data": [
            recipient("18b75a76", "ACTIVE", json!([
                brand("20c0864b", "ACTIVE", json!([
                    product("9381dad2", "ACTIVE"), product("b411214f", "INACTIVE"), product("68c9e9a1", "REMOVED"),
                ])),
                brand("ebbcc2f2", "INACTIVE", json!([product("a3a8a9d2", "ACTIVE")])),
                brand("f0000000", "REMOVED", Value::Null),
            ])),
            recipient("2be1a1ae", "SUSPENDED", json!([brand("3c1d", "ACTIVE", json!([product("c0de", "ACTIVE")]))])),
            recipient("3fa1b2c3", "REVOKED", Value::Null),
            recipient("4fa1b2c3", "SURRENDERED", json!([])),
        ],
        "links": { "self": "https://api.cdr.gov.au/cdr-register/v1/all/data-recipients" },
        "meta": {},
    })
}

#[test]
fn au_13_software_is_active_if_its_brand_and_its_data_recipient_are() {
    let cdr = directory(Format::Cdr, &register());
    assert_eq!(cdr.len(), (4, 5));
    for (organisation, software, expected) in [
        ("18b75a76", "", "active"),         // control
        ("18b75a76", "9381dad2", "active"), // control
        ("", "9381dad2", "active"),         // control
        ("", "b411214f", "inactive software"),
        ("", "68c9e9a1", "inactive software"),
        ("", "a3a8a9d2", "inactive software"),
        ("", "c0de", "inactive"),
        ("2be1a1ae", "", "inactive"),
        ("3fa1b2c3", "", "inactive"),
        ("4fa1b2c3", "", "inactive"),
        ("2be1a1ae", "9381dad2", "unrelated"),
        ("", "20c0864b", "unknown software"),
        ("20c0864b", "", "unknown"),
    ] {
        assert_eq!(said(&cdr, organisation, software, &[]), expected, "{organisation} {software}");
    }
}

#[test]
fn software_of_two_organisations_is_that_of_neither() {
    let product =
        json!([{ "status": "ACTIVE", "softwareProducts": [{ "softwareProductId": "s", "status": "ACTIVE" }] }]);
    let recipient = |id: &str| json!({ "legalEntityId": id, "status": "ACTIVE", "dataRecipientBrands": product });
    let of = |recipients: Value, organisation: &str| {
        said(&directory(Format::Cdr, &json!({ "data": recipients })), organisation, "s", &[])
    };
    assert_eq!(of(json!([recipient("a")]), "a"), "active"); // control
    let both = json!([recipient("a"), recipient("b")]);
    assert_eq!((of(both.clone(), "a"), of(both, "")), ("inactive software", "inactive software"));
}

#[test]
fn a_document_that_is_not_whole_is_none() {
    let parse = |format: Format, document: &str| format.parse(document.as_bytes()).map(|_| ());
    let good = [participants(), scim(), register()].map(|document| document.to_string());
    let [brazil, uk, cdr] = &good;
    for (format, document) in [(Format::Brazil, brazil), (Format::Uk, uk), (Format::Cdr, cdr)] {
        assert_eq!(parse(format, document), Ok(()), "control");
        let cut = &document[..document.len() - 1];
        assert!(matches!(parse(format, cut), Err(NotADirectory::Malformed { .. })), "{format:?}");
        let more = format!("{document}x");
        assert!(matches!(parse(format, &more), Err(NotADirectory::Malformed { .. })), "{format:?}");
    }
    for (format, document) in [
        (Format::Uk, uk.replace("\"totalResults\":3", "\"totalResults\":4")),
        (Format::Cdr, cdr.replace("\"links\":{", "\"links\":{\"next\":\"https://api.cdr.gov.au/2\",")),
    ] {
        assert_eq!(parse(format, &document), Err(NotADirectory::Partial));
    }
    for (format, document) in [
        (Format::Brazil, "[]"),
        (Format::Brazil, "[{}]"),
        (Format::Brazil, "null"),
        (Format::Brazil, "[{\"organisationId\":\"a\",\"Status\":\"Active\"}]"),
        (Format::Uk, "[]"),
        (Format::Uk, "{\"Resources\":[]}"),
        (Format::Cdr, "{\"data\":[]}"),
        (Format::Cdr, "{\"data\":null}"),
    ] {
        assert_eq!(parse(format, document), Err(NotADirectory::Empty), "{format:?} {document}");
    }
    for (format, document) in [
        (Format::Brazil, ""),
        (Format::Brazil, "<html>"),
        (Format::Brazil, "{}"),
        (Format::Brazil, "[1]"),
        (Format::Brazil, "[{\"OrganisationId\":\"a\",\"Status\":\"Withdrawn\",\"Status\":\"Active\"}]"),
        (Format::Brazil, "[{\"OrganisationId\":\"a\",\"OrgDomainRoleClaims\":{}}]"),
        (Format::Uk, "{\"resources\":[]}"),
        (Format::Uk, "{\"Resources\":[],\"totalResults\":\"many\"}"),
        (Format::Cdr, "[]"),
        (Format::Cdr, "{\"errors\":[]}"),
    ] {
        assert!(matches!(parse(format, document), Err(NotADirectory::Malformed { .. })), "{format:?} {document}");
    }
}

#[test]
fn a_document_is_bounded_in_bytes_and_entries() {
    let entries = |count: usize| {
        let entries: Vec<_> =
            (0..count).map(|id| format!("{{\"OrganisationId\":\"{id}\",\"Status\":\"Active\"}}")).collect();
        format!("[{}]", entries.join(","))
    };
    let most = entries(MAX_ENTRIES);
    assert_eq!(Format::Brazil.parse(most.as_bytes()).unwrap().len().0, MAX_ENTRIES); // control
    assert_eq!(Format::Brazil.parse(entries(MAX_ENTRIES + 1).as_bytes()), Err(NotADirectory::TooMany));
    assert!(Format::Brazil.parse(entries(MAX_ENTRIES + 2).as_bytes()).is_err());
    let padded = |length: usize| format!("{}[{{\"OrganisationId\":\"a\"}}]", " ".repeat(length - 24));
    assert!(Format::Brazil.parse(padded(MAX_DOCUMENT_BYTES).as_bytes()).is_ok()); // control
    assert_eq!(Format::Brazil.parse(padded(MAX_DOCUMENT_BYTES + 1).as_bytes()), Err(NotADirectory::TooLarge));
    let id = |length: usize| json!([{ "OrganisationId": "a".repeat(length), "Status": "Active" }]).to_string();
    assert!(Format::Brazil.parse(id(256).as_bytes()).is_ok()); // control
    assert_eq!(Format::Brazil.parse(id(257).as_bytes()), Err(NotADirectory::Empty));
}

#[test]
fn what_is_wrong_is_told_without_what_could_be_read_as_something_else() {
    let withdrawn = directory(Format::Brazil, &json!([{ "OrganisationId": "a\n", "Status": "Gone\nto \"b\"" }]));
    let participant = Participant { organisation: Some("a\n"), software: None };
    let refused = withdrawn.check(&participant, &[]).unwrap_err().to_string();
    assert!(refused.starts_with("its organisation \"a") && !refused.contains('\n'), "{refused}");
    let active = directory(Format::Brazil, &json!([{ "OrganisationId": "a", "Status": "Active" }]));
    let participant = Participant { organisation: Some("a"), software: None };
    let refused = active.check(&participant, &["DADOS".into(), "PAGTO".into()]).unwrap_err().to_string();
    assert_eq!(refused, "its organisation \"a\" has no active role \"DADOS\" or \"PAGTO\"");
    assert_eq!(().check(DirectoryIndex(0), &participant, &[]), Err(ParticipantError::NeverRead));
}

proptest! {
    #[test]
    fn never_panics(document: Vec<u8>, text in "[\\[\\]{}\":,a-zA-Z0-9 ]{0,80}") {
        for format in Format::ALL {
            let _ = (format.parse(&document), format.parse(text.as_bytes()));
        }
    }

    #[test]
    fn nobody_is_active_who_is_not_said_to_be(
        entries in proptest::collection::vec(("[ab]", "(Active|Withdrawn)", "[PD]", "(Active|Inactive)"), 1..6)
    ) {
        let list: Vec<_> = entries.iter().map(|(id, status, role, held)| json!({
            "OrganisationId": id, "Status": status, "OrgDomainRoleClaims": [{ "Role": role, "Status": held }],
        })).collect();
        let brazil = directory(Format::Brazil, &json!(list));
        for id in ["a", "b"] {
            let own: Vec<_> = entries.iter().filter(|(own, ..)| own == id).collect();
            let is_active = !own.is_empty() && own.iter().all(|(_, status, ..)| status == "Active");
            prop_assert_eq!(said(&brazil, id, "", &[]) == "active", is_active);
            for role in ["P", "D"] {
                let holds = is_active && own.iter().all(|(_, _, own, held)| own == role && held == "Active");
                prop_assert_eq!(said(&brazil, id, "", &[role]) == "active", holds);
            }
        }
    }
}
