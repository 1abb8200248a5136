//! Amounts of money, as decimals and never as floating-point numbers.

use serde_json::Value;

/// An amount in one currency, which is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount<'v> {
    currency: &'v str,
    /// In units of 10⁻⁵.
    units: u128,
}

impl<'v> Amount<'v> {
    /// Reads an object of `amount` and `currency`, as in RFC 9396 §2 and Berlin Group, or `Amount` and `Currency`, as in UK
    /// Open Banking, and nothing else. Who writes one name in another way is read differently by those who ignore case and by
    /// those who do not. The amount is text, and the currency a code of ISO 4217.
    ///
    /// JSON numbers are no amounts: what is left of their digits depends on who reads them (RFC 8259 §6).
    pub(super) fn read(value: &'v Value) -> Option<Self> {
        let members = value.as_object()?;
        let both = |currency, amount| members.get(currency).zip(members.get(amount));
        let (currency, amount) = both("currency", "amount").or_else(|| both("Currency", "Amount"))?;
        let (currency, amount) = (currency.as_str()?, amount.as_str()?);
        let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
        let units = decimal(amount)?;
        (is_code && members.len() == 2).then_some(Self { currency, units })
    }

    /// Whether it is in the same currency and at least as much.
    pub(super) fn covers(self, other: Self) -> bool {
        self.currency == other.currency && self.units >= other.units
    }
}

/// Reads a decimal in units of 10⁻⁵: digits without leading zeros, and perhaps a dot and one to five more; 18 digits at most,
/// as an amount has in ISO 20022. No sign, exponent, space or separator.
fn decimal(text: &str) -> Option<u128> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if (1..=FRACTION).contains(&fraction.len()) => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let is_whole = whole == "0" || !(whole.is_empty() || whole.starts_with('0'));
    let digits = || whole.bytes().chain(fraction.bytes());
    if !is_whole || digits().count() > DIGITS || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', FRACTION.saturating_sub(fraction.len()));
    digits()
        .chain(zeros)
        .try_fold(0_u128, |units, digit| units.checked_mul(10)?.checked_add(u128::from(digit.checked_sub(b'0')?)))
}

/// ISO 20022, ActiveCurrencyAndAmount: `fractionDigits` 5, `totalDigits` 18. UK Open Banking has 13 and 5 digits, Berlin Group 14
/// and 3, Open Finance Brasil 16 and 2.
const FRACTION: usize = 5;
const DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decimal_is_digits_and_perhaps_a_fraction() {
        for (text, units) in [
            ("0", 0),
            ("0.0", 0),
            ("0.00001", 1),
            ("1", 100_000),
            ("1.5", 150_000),
            ("123.50", 12_350_000),
            ("10", 1_000_000),
            ("9999999999999.99999", 999_999_999_999_999_999),
            ("999999999999999999", 99_999_999_999_999_999_900_000),
            ("9999999999999999.99", 999_999_999_999_999_999_000),
        ] {
            assert_eq!(decimal(text), Some(units), "{text}"); // control
        }
        for text in [
            "",
            ".",
            ".5",
            "5.",
            "1.2.3",
            "1e2",
            "1E2",
            "1.0e0",
            "-0",
            "-1",
            "+1",
            "00.1",
            "00",
            "01",
            "0x1",
            "1_000",
            "1,000",
            "1,5",
            "1 000",
            " 1",
            "1 ",
            "1\n",
            "1\0",
            "1.000001",
            "1.123456",
            "1000000000000000000",
            "99999999999999.99999",
            "NaN",
            "Infinity",
            "\u{661}",
            "\u{ff11}",
            "1\u{660}",
            "\u{b2}",
            "1.\u{665}",
            "\u{2212}1",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_amount_has_a_currency_and_nothing_else() {
        let eur = |amount: &str| json!({ "currency": "EUR", "amount": amount });
        for value in [eur("1.00"), json!({ "Amount": "1", "Currency": "EUR" })] {
            assert_eq!(Amount::read(&value), Some(Amount { currency: "EUR", units: 100_000 }), "{value}"); // control
        }
        for value in [
            json!("1.00"),
            json!(1),
            json!(null),
            json!([eur("1.00")]),
            json!({}),
            json!({ "amount": "1.00" }),
            json!({ "currency": "EUR" }),
            json!({ "currency": "EUR", "amount": 1 }),
            json!({ "currency": "EUR", "amount": 1.5 }),
            json!({ "currency": "EUR", "amount": null }),
            json!({ "currency": "EUR", "amount": ["1.00"] }),
            json!({ "currency": "EUR", "amount": "1e2" }),
            json!({ "currency": 978, "amount": "1.00" }),
            json!({ "currency": "", "amount": "1.00" }),
            json!({ "currency": "eur", "amount": "1.00" }),
            json!({ "currency": "EU", "amount": "1.00" }),
            json!({ "currency": "EURO", "amount": "1.00" }),
            json!({ "currency": "E R", "amount": "1.00" }),
            json!({ "currency": "\u{395}UR", "amount": "1.00" }),
            json!({ "currency": "EUR", "amount": "1.00", "Amount": "9.00" }),
            json!({ "currency": "EUR", "Currency": "USD", "amount": "1.00" }),
            json!({ "currency": "EUR", "amount": "1.00", "exponent": 2 }),
            json!({ "currency": "EUR", "Amount": "1.00" }),
            json!({ "Currency": "EUR", "amount": "1.00" }),
            json!({ "CURRENCY": "EUR", "AMOUNT": "1.00" }),
            json!({ "currency": "EUR", "amount\0": "1.00" }),
            json!({ "currency": "EUR", "Currency": "EUR", "amount": "1.00", "Amount": "1.00" }),
        ] {
            assert_eq!(Amount::read(&value), None, "{value}");
        }
    }

    #[test]
    fn an_amount_covers_as_much_of_its_currency() {
        let amount = |currency: &str, amount: &str| json!({ "currency": currency, "amount": amount });
        let granted = amount("EUR", "100.00");
        for (wanted, covered) in [
            (amount("EUR", "100.00"), true), // control
            (amount("EUR", "100"), true),
            (amount("EUR", "99.99999"), true),
            (amount("EUR", "0"), true),
            (amount("EUR", "100.00001"), false),
            (amount("EUR", "100.01"), false),
            (amount("EUR", "1000"), false),
            (amount("USD", "100.00"), false),
            (amount("USD", "0"), false),
        ] {
            assert_eq!(Amount::read(&granted).unwrap().covers(Amount::read(&wanted).unwrap()), covered, "{wanted}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_only_the_grammar_is(text in "[0-9.eE+\\-, ]{0,24}|\\PC{0,8}") {
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
            let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
            let count = whole.len() + text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let is_one = digits(whole) && digits(fraction) && fraction.len() <= 5 && count <= 18
                && (whole == "0" || !whole.starts_with('0'));
            prop_assert_eq!(decimal(&text).is_some(), is_one);
        }

        #[test]
        fn a_decimal_is_what_its_digits_say(whole in 0_u64..10_000_000_000_000, fraction in 0_u32..100_000, zeros in 0_usize..5) {
            let units = u128::from(whole) * 100_000 + u128::from(fraction);
            let text = format!("{whole}.{fraction:05}");
            prop_assert_eq!(decimal(&text), Some(units));
            // Zeros at the end change nothing.
            let digits = 5 - zeros.min(text.bytes().rev().take(4).take_while(|byte| *byte == b'0').count());
            prop_assert_eq!(decimal(&text[..text.len() - 5 + digits]), Some(units));
        }

        #[test]
        fn amounts_are_ordered_as_numbers_are(one in 0_u64..1_000_000_000, other in 0_u64..1_000_000_000, places in 0_usize..5) {
            let text = |units: u64| {
                let scale = 10_u64.pow(u32::try_from(places).unwrap());
                if places == 0 { units.to_string() } else { format!("{}.{:0places$}", units / scale, units % scale) }
            };
            let value = |units: u64| json!({ "currency": "EUR", "amount": text(units) });
            let (granted, wanted) = (value(one), value(other));
            prop_assert_eq!(Amount::read(&granted).unwrap().covers(Amount::read(&wanted).unwrap()), one >= other);
        }
    }
}
