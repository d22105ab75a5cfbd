//! Names beyond ASCII, as configurations have them: IDNA (UTS 46, RFC 5891) makes them names of DNS. This may be missing in a build.

/// The error for a name that IDNA refuses, or that this build cannot convert.
pub const EXPECTED: &str = match cfg!(feature = "idna") {
    true => "an internationalised name that IDNA allows",
    false => {
        "a name in ASCII, xn--..., since others need the feature idna, which this weir was built without"
    }
};

/// The name in ASCII; [`EXPECTED`] if there is none.
#[cfg(feature = "idna")]
pub fn to_ascii(name: &str) -> Result<String, &'static str> {
    if name.is_ascii() { Ok(name.to_owned()) } else { idna::domain_to_ascii(name).map_err(|_| EXPECTED) }
}

/// The name in ASCII; [`EXPECTED`] if there is none.
#[cfg(not(feature = "idna"))]
pub fn to_ascii(name: &str) -> Result<String, &'static str> {
    if name.is_ascii() { Ok(name.to_owned()) } else { Err(EXPECTED) }
}

/// The error for a text with an invalid host: it names the missing feature if the text needs that.
pub fn expected<'a>(found: &str, otherwise: &'a str) -> &'a str {
    if cfg!(feature = "idna") || found.is_ascii() { otherwise } else { EXPECTED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_ascii_need_the_feature() {
        assert_eq!(to_ascii("xn--bcher-kva.example"), Ok("xn--bcher-kva.example".to_owned()));
        let converted = to_ascii("b\u{fc}cher.example");
        match cfg!(feature = "idna") {
            true => assert_eq!(converted, to_ascii("xn--bcher-kva.example")),
            false => assert!(converted.is_err_and(|said| said.contains("need the feature idna, which"))),
        }
        for (found, said) in
            [("a host", "a host"), ("b\u{fc}cher", if cfg!(feature = "idna") { "a host" } else { EXPECTED })]
        {
            assert_eq!(expected(found, "a host"), said);
        }
    }
}
