//! Sums of money, exact in the currency's minor unit.

use std::fmt;

use goldbook_api::values::to_minor_units;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The most decimals of a [`Rate`].
const MAX_RATE_DECIMALS: u32 = 9;
/// The largest [`Rate`].
const MAX_RATE: i64 = 1_000_000;

/// An ISO 4217 currency that has a minor unit defined, even if it is the same as the major one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Parses the three-letter code.
    ///
    /// # Errors
    /// If no currency with a minor unit has this code.
    pub fn parse(code: &str) -> Result<Self, &'static str> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or("must be the three-letter ISO 4217 code of a currency, such as EUR")
    }

    /// The code of ISO 4217: three letters in upper case.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals its minor unit has: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// Minor units in one major unit.
    #[must_use]
    pub fn minor_per_major(self) -> i64 {
        10_i64.saturating_pow(self.decimals())
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

/// A sum of zero or more, in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The currency, which says how large a minor unit is.
    pub currency: Currency,
    /// How many minor units; zero or more.
    pub minor: i64,
}

impl Money {
    /// Parses whole units and nanos, the form of `google.type.Money`.
    ///
    /// # Errors
    /// If it is negative, too large, or not a whole number of minor units.
    pub fn parse(currency: Currency, units: i64, nanos: i32) -> Result<Self, &'static str> {
        let minor = to_minor_units(units, nanos, currency.decimals())?;
        Ok(Self { currency, minor })
    }

    /// Whole units and nanos, the form of `google.type.Money`.
    #[must_use]
    pub fn to_units_and_nanos(self) -> (i64, i32) {
        let per_major = self.currency.minor_per_major();
        let nanos = (self.minor % per_major) * (1_000_000_000 / per_major);
        (self.minor / per_major, i32::try_from(nanos).unwrap_or(0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = Decimal::from_i128_with_scale(self.minor.into(), self.currency.decimals());
        write!(f, "{decimal} {}", self.currency.code())
    }
}

/// Points for one major unit spent: an exact decimal from 0 to 1,000,000 with at most 9 decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(Decimal);

impl Rate {
    /// Parses a decimal such as `1.5`; trailing zeros do not matter.
    ///
    /// # Errors
    /// If it is not a plain decimal within the bounds.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "must be a decimal from 0 to 1,000,000 with at most 9 decimals, such as 1.5";
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let decimal = Decimal::from_str_exact(text).map_err(|_| EXPECTED)?.normalize();
        if !is_plain || decimal.is_sign_negative() || decimal > Decimal::from(MAX_RATE) {
            return Err(EXPECTED);
        }
        if decimal.scale() > MAX_RATE_DECIMALS {
            return Err(EXPECTED);
        }
        Ok(Self(decimal))
    }

    /// The nearest number that a double can hold.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        use rust_decimal::prelude::ToPrimitive as _;
        self.0.to_f64().unwrap_or_default()
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is at most so much, with at most so many decimals.
    #[must_use]
    pub fn is_within(self, most: i64, decimals: u32) -> bool {
        self.0 <= Decimal::from(most) && self.0.scale() <= decimals
    }

    /// A number of things that are worth this much each in major units, in minor units rounded half to even; none if that
    /// is more than can be counted.
    #[must_use]
    pub fn times(self, count: i128, currency: Currency) -> Option<i128> {
        let product = count.checked_mul(self.0.mantissa())?.checked_mul(10_i128.checked_pow(currency.decimals())?)?;
        let divisor = 10_i128.checked_pow(self.0.scale())?;
        Some(divide_half_even(product, divisor))
    }

    /// floor(amount × rate × multiplier), exactly and rounded once; none if that is more points than can be counted.
    #[must_use]
    pub fn points_multiplied(self, amount: Money, multiplier: Self) -> Option<i64> {
        let rate = i128::from(amount.minor).checked_mul(self.0.mantissa())?;
        // Of a product that an i128 cannot hold, the quotient is more than an i64 holds: of an amount, a rate and the
        // multiplier of a benefit, at most 17 decimals are cut off.
        let product = rate.checked_mul(multiplier.0.mantissa())?;
        let decimals = self.0.scale() + multiplier.0.scale() + amount.currency.decimals();
        i64::try_from(product / 10_i128.checked_pow(decimals)?).ok()
    }

    /// floor(amount × rate), exactly; none if that is more points than can be counted.
    #[must_use]
    pub fn points_for(self, amount: Money) -> Option<i64> {
        // At most 2^63 × 10^15, which an i128 holds.
        let product = i128::from(amount.minor) * self.0.mantissa();
        let divisor = 10_i128.checked_pow(self.0.scale() + amount.currency.decimals())?;
        i64::try_from(product / divisor).ok()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Rate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// A quotient of numbers of zero or more, rounded half to even.
#[must_use]
pub(crate) const fn divide_half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let is_up = rest > divisor - rest || (rest == divisor - rest && quotient % 2 == 1);
    if is_up { quotient + 1 } else { quotient }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(minor: i64) -> Money {
        Money { currency: Currency::parse("USD").unwrap(), minor }
    }

    #[test]
    fn money_must_be_exact_in_the_minor_unit() {
        let [usd, jpy, kwd] = ["USD", "JPY", "KWD"].map(|code| Currency::parse(code).unwrap());
        assert_eq!(Money::parse(usd, 29, 330_000_000).unwrap().minor, 2_933);
        assert!(Money::parse(usd, 29, 331_000_000).is_err());
        assert!(Money::parse(jpy, 29, 10_000_000).is_err());
        assert_eq!(Money::parse(kwd, 1, 1_000_000).unwrap().minor, 1_001);
        assert!(Money::parse(usd, -1, 0).is_err());
        assert!(Money::parse(usd, 0, -10_000_000).is_err());
        assert!(Money::parse(usd, i64::MAX, 0).is_err());
        assert_eq!(Money::parse(usd, 29, 330_000_000).unwrap().to_units_and_nanos(), (29, 330_000_000));
    }

    #[test]
    fn currencies_without_a_minor_unit_and_unknown_codes_are_refused() {
        for code in ["XXX", "XAU", "usd", "", "ABC"] {
            assert!(Currency::parse(code).is_err(), "{code}");
        }
    }

    #[test]
    fn a_rate_is_an_exact_plain_decimal_within_bounds() {
        assert_eq!(Rate::parse("1.50").unwrap(), Rate::parse("1.5").unwrap());
        for bad in ["", ".", "-1", "+1", "1e3", "1_000", "1000000.1", "0.0000000001", "NaN", " 1"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn points_are_rounded_down() {
        assert_eq!(Rate::parse("1").unwrap().points_for(usd(2_999)), Some(29));
        assert_eq!(Rate::parse("0.1").unwrap().points_for(usd(999)), Some(0));
        assert_eq!(Rate::parse("1.5").unwrap().points_for(usd(200)), Some(3));
        assert_eq!(Rate::parse("1000000").unwrap().points_for(usd(i64::MAX)), None);
        assert_eq!(Rate::parse("100").unwrap().points_for(usd(i64::MAX)), Some(i64::MAX));
    }

    #[test]
    fn multiplied_points_are_rounded_down_once_and_never_wrap() {
        let rate = |text: &str| Rate::parse(text).unwrap();
        // 9.99 × 1.5 = 14.985, where rounding in between would make 13.
        assert_eq!(rate("1").points_multiplied(usd(999), rate("1.5")), Some(14));
        assert_eq!(rate("0.1").points_multiplied(usd(999), rate("2")), Some(1));
        assert_eq!(rate("3").points_multiplied(usd(700), rate("0.3333")), Some(6));
        assert_eq!(rate("1").points_multiplied(usd(i64::MAX), rate("100")), Some(i64::MAX));
        assert_eq!(rate("1").points_multiplied(usd(i64::MAX), rate("100.0001")), None);
        assert_eq!(rate("999999.999999999").points_multiplied(usd(i64::MAX), rate("99.9999")), None);
        assert_eq!(rate("0.000000001").points_multiplied(usd(i64::MAX), rate("1")), Some(92_233_720));
    }

    proptest! {
        #[test]
        fn points_times_one_are_the_points(minor in 0..i64::MAX, mantissa in 0..1_000_000_i64, scale in 0..9_u32) {
            let rate = Rate::parse(&Decimal::new(mantissa, scale).to_string()).unwrap();
            let one = Rate::parse("1").unwrap();
            prop_assert_eq!(rate.points_multiplied(usd(minor), one), rate.points_for(usd(minor)));
        }

        #[test]
        fn points_never_exceed_the_exact_product_and_miss_less_than_one(
            minor in 0..10_000_000_i64, mantissa in 0..100_000_i64, scale in 0..6_u32
        ) {
            let rate = Rate::parse(&Decimal::new(mantissa, scale).to_string()).unwrap();
            let points = Decimal::from(rate.points_for(usd(minor)).unwrap());
            let exact = Decimal::new(minor, 2) * Decimal::new(mantissa, scale);
            prop_assert!(points <= exact && exact < points + Decimal::ONE);
        }
    }
}
