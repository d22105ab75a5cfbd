//! A small strict reader of one flat JSON object (RFC 8259), for what the log writes.

/// A value in the JSON of weir.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    True,
    False,
    Number(u64),
    /// A number with three decimals, as so many thousandths.
    Thousandths(u64),
    Text(String),
}

/// The members of the object that the text is, all of it, or None if it is none.
pub fn object(text: &str) -> Option<Vec<(String, Value)>> {
    let mut rest = text.strip_prefix('{')?;
    let mut members = Vec::new();
    loop {
        let (name, after) = string(rest)?;
        let (value, after) = value(after.strip_prefix(':')?)?;
        members.push((name, value));
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return (after == "}").then_some(members),
        }
    }
}

fn value(text: &str) -> Option<(Value, &str)> {
    for (word, value) in [("null", Value::Null), ("true", Value::True), ("false", Value::False)] {
        if let Some(after) = text.strip_prefix(word) {
            return Some((value, after));
        }
    }
    if text.starts_with('"') {
        return string(text).map(|(text, after)| (Value::Text(text), after));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, after) = text.split_at(end);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let whole: u64 = (!leading_zero).then(|| digits.parse().ok())??;
    let Some(fraction) = after.strip_prefix('.') else { return Some((Value::Number(whole), after)) };
    let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    let (digits, after) = fraction.split_at(end);
    let thousandths = (digits.len() == 3).then(|| digits.parse::<u64>().ok())??;
    Some((Value::Thousandths(whole.checked_mul(1000)?.checked_add(thousandths)?), after))
}

/// A string and what follows it. Escapes of UTF-16 have to come in pairs where they need to.
fn string(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut units = Vec::new();
    loop {
        match chars.next()? {
            '"' => return Some((String::from_utf16(&units).ok()?, chars.as_str())),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    units.push(hex.then(|| u16::from_str_radix(&digits, 16).ok())??);
                }
                escaped @ ('"' | '\\' | '/') => units.push(escaped as u16),
                _ => return None,
            },
            c if (c as u32) < 0x20 => return None,
            c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
        }
    }
}
