//! Within which bounds numbers are taken, so that every calculation stays finite and ends.

/// The most repeat purchases of one customer: 270 years of one a day.
pub const MAX_PURCHASES: u32 = 100_000;

/// The longest time, in the caller's unit: 317 years of seconds.
pub const MAX_TIME: f64 = 1e10;

/// The shortest time that is not zero, in the caller's unit: a twentieth of a second, in years.
pub const MIN_TIME: f64 = 1e-9;

/// The smallest value of a parameter that has no unit. A parameter that is as small says what zero would say.
pub const MIN_PARAMETER: f64 = 1e-5;

/// The greatest value of a parameter that has no unit. Customers then differ no longer in what it tells of.
pub const MAX_PARAMETER: f64 = 1e5;

/// The smallest `alpha` of [`BgNbd`](crate::BgNbd), which is a time: what [`MIN_TIME`] and [`MIN_PARAMETER`] come to.
pub const MIN_ALPHA: f64 = 1e-14;

/// The greatest `alpha` of [`BgNbd`](crate::BgNbd): what [`MAX_TIME`] and [`MAX_PARAMETER`] come to.
pub const MAX_ALPHA: f64 = 1e15;

/// The smallest mean amount of a customer's purchases, and `gamma` of [`GammaGamma`](crate::GammaGamma) goes down to this
/// times [`MIN_PARAMETER`].
pub const MIN_AMOUNT: f64 = 1e-9;

/// The greatest mean amount of a customer's purchases, and `gamma` of [`GammaGamma`](crate::GammaGamma) goes up to this
/// times [`MAX_PARAMETER`].
pub const MAX_AMOUNT: f64 = 1e15;

/// The most periods that one call looks ahead, or along.
pub const MAX_PERIODS: u32 = 1_200;

/// The parameter of a model is no number within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("parameter {name} is {value}, but must be between {least:e} and {most:e}")]
pub struct ParameterError {
    /// The parameter, as the papers call it.
    pub name: &'static str,
    /// What was given.
    pub value: f64,
    /// The smallest value that would do.
    pub least: f64,
    /// The greatest value that would do.
    pub most: f64,
}

/// A time is negative, no number, or too long.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a time is {time}, but must be between 0 and {MAX_TIME:e}")]
pub struct TimeError {
    /// What was given.
    pub time: f64,
}

pub(crate) fn parameter(name: &'static str, value: f64, least: f64, most: f64) -> Result<f64, ParameterError> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(ParameterError { name, value, least, most }) }
}

pub(crate) fn time(value: f64) -> Result<f64, TimeError> {
    if (0.0..=MAX_TIME).contains(&value) { Ok(value) } else { Err(TimeError { time: value }) }
}
