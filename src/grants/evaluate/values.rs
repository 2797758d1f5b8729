//! What do the numbers, dates and networks of a condition mean?

use std::cmp::Ordering;
use std::net::IpAddr;

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A decimal number of any length. As a float, two different account numbers could be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Without zeros in front.
    whole: String,
    /// Without zeros behind.
    fraction: String,
}

impl Decimal {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len().max(fraction.len()) == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0').to_owned(), fraction.trim_end_matches('0').to_owned());
        let is_zero = whole.is_empty() && fraction.is_empty();
        Some(Self { is_negative: is_negative && !is_zero, whole, fraction })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |one: &Self, two: &Self| {
            one.whole
                .len()
                .cmp(&two.whole.len())
                .then_with(|| one.whole.cmp(&two.whole))
                .then_with(|| one.fraction.cmp(&two.fraction))
        };
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(self, other),
            (true, true) => size(other, self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The moments that a text can mean, in nanoseconds since the epoch: none if it is not a date. Four digits are a year or
/// seconds, and AWS does not say which.
pub(super) fn moments(text: &str) -> Vec<i128> {
    const NANOSECONDS: i128 = 1_000_000_000;
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<i64>().ok().filter(|_| is_digits);
    let seconds = seconds.map(|seconds| i128::from(seconds).saturating_mul(NANOSECONDS));
    let year = if is_digits && text.len() != 4 { None } else { iso8601(text) };
    seconds.into_iter().chain(year).collect()
}

/// `year[-month[-day]][Thours[:minutes[:seconds[.fraction]]]][zone]`; what is left out is the first there is.
fn iso8601(text: &str) -> Option<i128> {
    let (date, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let (sign, date) = date.strip_prefix('-').map_or((1, date), |date| (-1, date));
    let mut fields = date.split('-');
    let year = fields.next()?.parse::<i32>().ok()?.checked_mul(sign)?;
    let month = fields.next().map_or(Some(1), |month| month.parse::<u8>().ok())?;
    let day = fields.next().map_or(Some(1), |day| day.parse::<u8>().ok())?;
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let (time, zone) = time.find(['Z', 'z', '+', '-']).map_or((time, ""), |at| time.split_at(at));
    let mut fields = time.splitn(3, ':').filter(|field| !field.is_empty());
    let hours = fields.next().map_or(Some(0), |hours| hours.parse::<u8>().ok())?;
    let minutes = fields.next().map_or(Some(0), |minutes| minutes.parse::<u8>().ok())?;
    let (seconds, fraction) = fields.next().map_or(("0", ""), |rest| rest.split_once('.').unwrap_or((rest, "")));
    let nanoseconds = format!("{fraction:0<9}").parse::<u32>().ok()?;
    let time = Time::from_hms_nano(hours, minutes, seconds.parse::<u8>().ok()?, nanoseconds).ok()?;
    Some(OffsetDateTime::new_in_offset(date, time, offset(zone)?).unix_timestamp_nanos())
}

/// `Z`, or `+hours[:minutes]`. Without a zone it is UTC.
fn offset(zone: &str) -> Option<UtcOffset> {
    let Some((sign, rest)) = zone.split_at_checked(1) else { return Some(UtcOffset::UTC) };
    let (hours, minutes) = match sign {
        "+" | "-" => rest.split_once(':').unwrap_or((rest, "0")),
        _ => return rest.is_empty().then_some(UtcOffset::UTC),
    };
    let signed = |field: &str| field.parse::<i8>().ok()?.checked_mul(if sign == "-" { -1 } else { 1 });
    UtcOffset::from_hms(signed(hours)?, signed(minutes)?, 0).ok()
}

/// Whether an address is in a block such as `203.0.113.0/24`, or is the address that stands in its place.
pub(super) fn is_in(address: IpAddr, network: &str) -> Option<bool> {
    let (base, prefix) = network.split_once('/').map_or((network, None), |(base, prefix)| (base, Some(prefix)));
    let bits = prefix.map(str::parse::<u32>).transpose().ok()?;
    Some(match (address, base.parse::<IpAddr>().ok()?) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            same_start(one.to_bits().into(), two.to_bits().into(), 32_u32.checked_sub(bits.unwrap_or(32))?)
        }
        (IpAddr::V6(one), IpAddr::V6(two)) => {
            same_start(one.to_bits(), two.to_bits(), 128_u32.checked_sub(bits.unwrap_or(128))?)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    })
}

/// Whether two addresses are equal but for their last bits.
fn same_start(one: u128, two: u128, last: u32) -> bool {
    one.checked_shr(last).unwrap_or(0) == two.checked_shr(last).unwrap_or(0)
}
