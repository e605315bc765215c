//! Operators on text.

use std::net::IpAddr;

/// Whether the operator with this name and operand takes the text. An unknown operator takes nothing.
pub(super) fn matches(name: &str, operand: &str, text: &str) -> bool {
    match name {
        "prefix" => text.starts_with(operand),
        "suffix" => text.ends_with(operand),
        "equals-ignore-case" => text.to_lowercase() == operand.to_lowercase(),
        "wildcard" => wildcard(operand).is_ok_and(|parts| wildcard_matches(&parts, text)),
        "cidr" => parse_cidr(operand).is_ok_and(|range| text.parse().is_ok_and(|address| range.contains(address))),
        _ => false,
    }
}

/// One piece of a wildcard pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `*`
    Any,
    /// A character, which may have been escaped.
    Exactly(char),
}

/// Reads a wildcard pattern, in which `\*` and `\\` stand for themselves.
pub(super) fn wildcard(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars().enumerate();
    while let Some((place, character)) = characters.next() {
        let part = match character {
            '*' if parts.last() == Some(&Part::Any) => {
                return Err(format!("Consecutive wildcard characters at pos {}", place.saturating_sub(1)));
            }
            '*' => Part::Any,
            '\\' => match characters.next() {
                Some((_, escaped @ ('*' | '\\'))) => Part::Exactly(escaped),
                _ => return Err(format!("Invalid escape character at pos {place}")),
            },
            character => Part::Exactly(character),
        };
        parts.push(part);
    }
    Ok(parts)
}

/// Goes through the text once; at a mismatch the last `*` takes one character more.
fn wildcard_matches(parts: &[Part], text: &str) -> bool {
    let mut rest = parts;
    let mut text = text.chars();
    let mut retry = None;
    loop {
        match (rest.split_first(), text.clone().next()) {
            (Some((Part::Any, after)), _) => {
                retry = Some((after, text.clone()));
                rest = after;
            }
            (Some((Part::Exactly(wanted), after)), Some(found)) if *wanted == found => {
                text.next();
                rest = after;
            }
            (None, None) => return true,
            _ => {
                let Some((after, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                rest = after;
                text = from.clone();
                retry = Some((after, from));
            }
        }
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Reads `10.0.0.0/24` or `2001:db8::/32`.
pub(super) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let Some((address, bits)) = text.split_once('/') else { return Err("Malformed CIDR, one '/' required".to_owned()) };
    let bits: u32 = bits.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
    let address: IpAddr = address.parse().map_err(|_| format!("Nonstandard IP address: {address}"))?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    if bits > bits_max {
        return Err(format!("Malformed CIDR, mask bits must be between 0 and {bits_max}"));
    }
    Ok(Cidr { address, bits })
}
