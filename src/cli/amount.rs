//! Amounts of money as people write them: exact decimals, to and from `google.type.Money`.

use std::fmt;

use goldbook_api::google::Money;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::output::group_digits;

/// `google.type.Money` counts billionths.
const MAX_DECIMALS: u32 = 9;

/// How many decimals the minor unit of a currency has; none for a code that this program does not know.
pub(super) fn decimals_of(currency_code: &str) -> Option<u32> {
    iso_currency::Currency::from_code(currency_code)?.exponent().map(u32::from)
}

/// An exact decimal amount, whose currency is known from elsewhere. The service judges everything else about it, such
/// as whether it may be below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(Decimal);

impl Amount {
    /// Parses a plain decimal: digits, perhaps a point and up to 9 digits more, perhaps a minus sign before them.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "must be a decimal with at most 9 decimals, such as 10.00";
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > MAX_DECIMALS as usize {
            return Err(MALFORMED);
        }
        let amount = Decimal::from_str_exact(text).map_err(|_| "is too large")?;
        // The wire's whole units are 64 bits.
        if i64::try_from(amount.trunc()).is_err() { Err("is too large") } else { Ok(Self(amount)) }
    }

    /// Reads an amount from the wire.
    pub(super) fn from_money(money: &Money) -> Self {
        let billionths = i128::from(money.units) * 1_000_000_000 + i128::from(money.nanos);
        Self(Decimal::from_i128_with_scale(billionths, MAX_DECIMALS).normalize())
    }

    /// Writes the amount for the wire.
    pub(super) fn to_money(self, currency_code: &str) -> Money {
        let nanos = self.0.fract() * Decimal::from(1_000_000_000);
        Money {
            currency_code: currency_code.to_owned(),
            // Neither fails for an amount that was parsed.
            units: i64::try_from(self.0.trunc()).unwrap_or_default(),
            nanos: i32::try_from(nanos).unwrap_or_default(),
        }
    }

    /// The same amount, written with at least the decimals of the currency's minor unit.
    pub(super) fn in_currency(self, currency_code: &str) -> Self {
        let least = decimals_of(currency_code).unwrap_or(0);
        let mut amount = self.0.normalize();
        if amount.scale() < least {
            amount.rescale(least);
        }
        Self(amount)
    }

    /// The amount as people read it, such as `1,029.33 USD`.
    pub(super) fn show(self, currency_code: &str) -> String {
        format!("{} {currency_code}", group_digits(&self.in_currency(currency_code).to_string()))
    }

    /// The sum, or none if it is more than can be counted.
    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub(super) fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An amount of the wire as people read it, such as `1,029.33 USD`.
pub(super) fn show_money(money: &Money) -> String {
    Amount::from_money(money).show(&money.currency_code)
}

/// An amount of the wire as other tools read it: a plain decimal, and the currency beside it.
pub(super) fn write_money(money: &Money) -> Value {
    let Money { currency_code, .. } = money;
    json!({"amount": Amount::from_money(money).in_currency(currency_code), "currency_code": currency_code})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(units: i64, nanos: i32) -> Money {
        Money { currency_code: "USD".to_owned(), units, nanos }
    }

    #[test]
    fn amounts_become_units_and_nanos_exactly() {
        for (text, money) in [
            ("29.33", usd(29, 330_000_000)),
            ("0", usd(0, 0)),
            ("0.000000001", usd(0, 1)),
            ("-1.75", usd(-1, -750_000_000)),
            ("9223372036854775807.99", usd(i64::MAX, 990_000_000)),
        ] {
            assert_eq!(Amount::parse(text).unwrap().to_money("USD"), money, "{text}");
            assert_eq!(Amount::parse(text).unwrap(), Amount::from_money(&money), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for bad in ["", ".", "1.", ".5", "+1", "1e3", "1_000", "1,000", "$1", " 1", "1 ", "--1", "NaN", "0.0000000001"]
        {
            assert!(Amount::parse(bad).is_err(), "{bad}");
        }
        assert!(Amount::parse("9223372036854775808").is_err());
        assert!(Amount::parse("99999999999999999999999999999999").is_err());
    }

    #[test]
    fn people_see_the_decimals_of_the_currency() {
        assert_eq!(show_money(&usd(1_200, 0)), "1,200.00 USD");
        assert_eq!(show_money(&usd(0, 1_000_000)), "0.001 USD");
        assert_eq!(show_money(&Money { currency_code: "JPY".to_owned(), units: 200, nanos: 0 }), "200 JPY");
        assert_eq!(show_money(&Money { currency_code: "KWD".to_owned(), units: 1, nanos: 500_000_000 }), "1.500 KWD");
    }

    proptest! {
        #[test]
        fn the_wire_and_back_changes_nothing(units in any::<i64>(), nanos in 0..1_000_000_000_i32) {
            let money = usd(units, if units < 0 { -nanos } else { nanos });
            let amount = Amount::from_money(&money);
            prop_assert_eq!(amount.to_money("USD"), money);
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
        }
    }
}
