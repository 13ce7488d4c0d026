//! The ways to reach customers with marketing, on the wire.

use super::MarketingChannel;
use crate::error::Fields;
use crate::proto;

/// Parses a channel that must be one of those that there are.
pub(crate) fn parse_channel(fields: &mut Fields, path: &str, channel: i32) -> Option<MarketingChannel> {
    match proto::MarketingChannel::try_from(channel) {
        Ok(proto::MarketingChannel::Email) => Some(MarketingChannel::Email),
        Ok(proto::MarketingChannel::Phone) => Some(MarketingChannel::Phone),
        Ok(proto::MarketingChannel::Sms) => Some(MarketingChannel::Sms),
        Ok(proto::MarketingChannel::Post) => Some(MarketingChannel::Post),
        Ok(proto::MarketingChannel::Push) => Some(MarketingChannel::Push),
        Ok(proto::MarketingChannel::Unspecified) | Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

/// A channel on the wire.
#[must_use]
pub(crate) const fn write_channel(channel: MarketingChannel) -> proto::MarketingChannel {
    match channel {
        MarketingChannel::Email => proto::MarketingChannel::Email,
        MarketingChannel::Phone => proto::MarketingChannel::Phone,
        MarketingChannel::Sms => proto::MarketingChannel::Sms,
        MarketingChannel::Post => proto::MarketingChannel::Post,
        MarketingChannel::Push => proto::MarketingChannel::Push,
    }
}
