use super::super::settings::Settings;
use super::*;

#[test]
fn names_are_unique_and_well_formed() {
    let mut names: Vec<&str> = TABLE.iter().flat_map(Spec::names).collect();
    let shorts: Vec<&str> = TABLE.iter().map(|spec| spec.short).filter(|short| !short.is_empty()).collect();
    assert_eq!(shorts, ["p", "c", "v", "q", "V", "h"]);
    assert!(names.iter().all(|name| name.len() > 1
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_default_is_well_formed_and_every_option_has_its_own_field() {
    let mut texts = Vec::new();
    for spec in TABLE {
        let value = Located { value: spec.default.to_owned(), ..Located::default() };
        let values = if spec.default.is_empty() { vec![] } else { vec![value] };
        let mut settings = Settings::default();
        assert_eq!((spec.apply)(&mut settings, &values), vec![], "{}", spec.name);
        // Flags that are off and what has no default change nothing; the others each change something else.
        let text = format!("{settings:?}");
        if text != format!("{:?}", Settings::default()) {
            assert!(!texts.contains(&text), "{}", spec.name);
            texts.push(text);
        }
    }
}

#[test]
fn environment_names() {
    assert_eq!(environment_name("dns-0x20"), "WEIR_DNS_0X20");
    assert_eq!(find("blacklist").map(|spec| spec.name), Some("blocklist"));
    assert!(find("nothing").is_none());
}
