//! What do the numbers, dates and networks of a condition mean?
//!
//! The operand in a policy and the value in a request are read alike.

use std::cmp::Ordering;
use std::net::IpAddr;

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A decimal number of any length. As a float, two different account numbers could be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) struct Decimal {
    is_negative: bool,
    /// Without zeros in front.
    whole: String,
    /// Without zeros behind.
    fraction: String,
}

impl Decimal {
    pub(in crate::grants) fn read(text: &str) -> Option<Self> {
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

/// Seconds since the epoch, or a date of ISO 8601 as far as IAM reads it: `year[-month[-day]][Thours[:minutes[:seconds]]]`
/// with a zone behind seconds. IAM takes a year of any length, and one of fewer than four digits is a mistake.
pub(in crate::grants) fn is_date(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let within = |text: &str, from: u64, to: u64| {
        digits(text) && text.parse::<u64>().is_ok_and(|number| (from..=to).contains(&number))
    };
    if digits(text) {
        return text.parse::<i64>().is_ok();
    }
    let (date, time) = text.split_once(['T', 't']).map_or((text, None), |(date, time)| (date, Some(time)));
    let (date, latest) = date.strip_prefix('-').map_or((date, 292_278_993), |date| (date, 292_275_054));
    let mut fields = date.split('-');
    let year = fields.next().unwrap_or_default();
    let date_is_legal = year.len() >= 4
        && within(year, 0, latest)
        && fields.next().is_none_or(|month| within(month, 1, 12))
        && fields.next().is_none_or(|day| within(day, 1, 31))
        && fields.next().is_none();
    let Some(time) = time.filter(|_| date_is_legal) else { return date_is_legal };
    let (time, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let zone_is_legal = match zone.split_at_checked(1) {
        None => true,
        Some(("Z" | "z", rest)) => rest.is_empty(),
        Some((_, offset)) => {
            let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "00"));
            [(hours, 23), (minutes, 59)].iter().all(|(field, most)| field.len() == 2 && within(field, 0, *most))
        }
    };
    let mut fields = time.splitn(3, ':');
    let seconds = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        within(whole, 0, 59) && fraction.len() <= 9 && digits(fraction)
    };
    zone_is_legal
        && fields.next().is_some_and(|hours| within(hours, 0, 23))
        && fields.next().is_none_or(|minutes| within(minutes, 0, 59))
        && fields.next().is_none_or(seconds)
}

/// The moments that a date can mean, in nanoseconds since the epoch. Four digits are a year or seconds, and AWS does not
/// say which. A day that no calendar has, and a year of more than four digits, mean none.
pub(in crate::grants) fn moments(date: &str) -> Vec<i128> {
    let seconds = date.bytes().all(|byte| byte.is_ascii_digit()).then(|| date.parse::<i64>().ok()).flatten();
    let year = if seconds.is_some() && date.len() != 4 { None } else { iso8601(date) };
    let seconds = seconds.map(|seconds| i128::from(seconds).saturating_mul(1_000_000_000));
    seconds.into_iter().chain(year).collect()
}

/// What is left out of a date is the first there is.
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

/// A block of addresses, such as `203.0.113.0/24`, with the length of its prefix; or one address.
pub(in crate::grants) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = prefix.map_or(Some(longest), |prefix| prefix.parse::<u8>().ok())?;
    (bits <= longest).then_some((address, bits))
}

/// Whether an address is in a block.
pub(in crate::grants) fn is_in(address: IpAddr, (base, bits): (IpAddr, u8)) -> bool {
    let same_start = |one: u128, two: u128, longest: u32| {
        let last = longest.saturating_sub(bits.into());
        one.checked_shr(last).unwrap_or(0) == two.checked_shr(last).unwrap_or(0)
    };
    match (address, base) {
        (IpAddr::V4(one), IpAddr::V4(two)) => same_start(one.to_bits().into(), two.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(two)) => same_start(one.to_bits(), two.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
