use super::*;

/// 2024-01-01 10:05:00 UTC
const NOW: u64 = 1_704_103_500_000;

const TIMES: Times = Times { now_unix_ms: NOW, written_unix_ms: NOW - 60_000, utc_offset_s: 0 };

/// The bans of a list: `network until reason`, `until` in seconds from now.
fn read(text: &str) -> (Vec<String>, u64, Vec<u32>) {
    let list = parse(text.as_bytes(), TIMES, 1000).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let until =
        |ban: &FileBan| ban.until_unix_ms.map_or("-".to_owned(), |until| ((until - NOW) / 1000).to_string());
    let bans = list
        .bans
        .iter()
        .map(|ban| format!("{} {} {}", ban.network, until(ban), ban.reason).trim().to_owned());
    let problems = list.problems.iter();
    (bans.collect(), list.skipped, problems.map(|problem| problem.line).collect())
}

#[track_caller]
fn expect(text: &str, bans: &[&str], skipped: u64, problems: &[u32]) {
    let expected = (bans.iter().map(|ban| (*ban).to_owned()).collect(), skipped, problems.to_vec());
    assert_eq!(read(text), expected, "{text}");
    assert_eq!(read(&text.replace('\n', "\r\n")), expected, "{text}");
    assert_eq!(read(&format!("\u{feff}{text}")), expected, "{text}");
}

#[test]
fn guard_4_plain_lists() {
    expect("", &[], 0, &[]);
    expect("# nothing\n\n", &[], 0, &[]);
    expect(
        "# ours\n192.0.2.1\n 198.51.100.0/24 # a network\n\n2001:db8::/32\n::ffff:192.0.2.9\n",
        &["192.0.2.1/32 -", "198.51.100.0/24 -", "2001:db8::/32 -", "192.0.2.9/32 -"],
        0,
        &[],
    );
    // The output of `fail2ban-client get JAIL banip`.
    expect(
        "192.0.2.1 192.0.2.2 2001:db8::1",
        &["192.0.2.1/32 -", "192.0.2.2/32 -", "2001:db8::1/128 -"],
        0,
        &[],
    );
    expect("192.0.2.1\nnone\n10.1.2.3/8\n192.0.2.2", &["192.0.2.1/32 -", "192.0.2.2/32 -"], 0, &[2, 3]);
}

#[test]
fn guard_4_fail2ban_with_times() {
    expect(
        "192.0.2.1 \t2024-01-01 10:00:00 + 600 = 2024-01-01 10:10:00\n\
         192.0.2.2 \t2024-01-01 09:00:00 + 600 = 2024-01-01 09:10:00\n\
         2001:db8::1 \t2023-12-31 23:59:60 + 86400 = 2024-01-02 00:00:00\n\
         192.0.2.3 \t2024-01-01 10:00:00 + -1 = 9999-12-31 23:59:59\n\
         192.0.2.4 \t2024-13-01 10:00:00 + 600 = 2024-01-01 10:10:00\n\
         192.0.2.5 \t2024-02-30 10:00:00 + 600 = 2024-01-01 10:10:00\n\
         192.0.2.6 \t2024-01-01 25:00:00 + 600 = 2024-01-01 10:10:00\n\
         192.0.2.7 \t2024-01-01 10:00:00 + x = 2024-01-01 10:10:00\n\
         192.0.2.8 \t2024-01-01 + 600 = 2024-01-01 10:10:00\n",
        &["192.0.2.1/32 300 fail2ban", "2001:db8::1/128 50100 fail2ban", "192.0.2.3/32 - fail2ban"],
        1,
        &[5, 6, 7, 8, 9],
    );
    // The machine's clock is two hours ahead.
    let times = Times { utc_offset_s: 7200, ..TIMES };
    let line = b"192.0.2.1 \t2024-01-01 12:00:00 + 600 = 2024-01-01 12:10:00";
    assert_eq!(parse(line, times, 10).unwrap().bans[0].until_unix_ms, Some(NOW + 300_000));
}

#[test]
fn guard_4_fail2ban_jails() {
    expect(
        "[{'sshd': ['192.0.2.1', '2001:db8::1']}, {'nginx': []}, {'mail': ['192.0.2.2']}]\n",
        &["192.0.2.1/32 - fail2ban sshd", "2001:db8::1/128 - fail2ban sshd", "192.0.2.2/32 - fail2ban mail"],
        0,
        &[],
    );
    expect(
        "[{'sshd': ['192.0.2.1',\n 'x']}, {'mail': [5, '192.0.2.2]}]",
        &["192.0.2.1/32 - fail2ban sshd"],
        0,
        &[2, 2, 2],
    );
}

#[test]
fn guard_4_crowdsec_json() {
    let alerts = r#"[
 {
  "capacity": 5,
  "decisions": [
   {"duration": "3h59m49s", "id": 1, "origin": "crowdsec", "scenario": "crowdsecurity/ssh-bf", "scope": "Ip", "simulated": false, "type": "ban", "value": "192.0.2.1"},
   {"duration": "3h59m49.25s", "origin": "cscli", "scenario": "manual", "scope": "Range", "type": "ban", "value": "198.51.100.0/24"},
   {"duration": "4h", "scenario": "a", "scope": "Ip", "simulated": true, "type": "ban", "value": "192.0.2.2"},
   {"duration": "4h", "scenario": "a", "scope": "Ip", "type": "captcha", "value": "192.0.2.3"},
   {"duration": "4h", "scenario": "a", "scope": "Country", "type": "ban", "value": "XX"},
   {"duration": "-4s", "scenario": "a", "scope": "ip", "type": "ban", "value": "192.0.2.4"},
   {"duration": "30s", "scenario": "a", "scope": "ip", "type": "ban", "value": "192.0.2.5"},
   {"duration": "soon", "scenario": "a", "scope": "ip", "type": "ban", "value": "192.0.2.6"},
   {"duration": "4h", "scenario": "a", "scope": "ip", "type": "ban", "value": "198.51.100.1/24"},
   {"duration": "4h", "scope": "ip", "type": "ban"}
  ],
  "events": [], "source": {"cn": "XX", "as_number": "64496"}
 },
 {"decisions": null}
]"#;
    // The file is a minute old.
    expect(
        alerts,
        &["192.0.2.1/32 14329 crowdsecurity/ssh-bf", "198.51.100.0/24 14329 manual"],
        6,
        &[0, 0, 0],
    );
    // The input of `cscli decisions import`.
    let decisions = r#"[{"duration": "24h", "reason": "mine", "scope": "ip", "type": "ban", "value": "2001:db8::1"}, {"value": "192.0.2.1"}]"#;
    expect(decisions, &["2001:db8::1/128 86340 mine", "192.0.2.1/32 -"], 0, &[]);
    expect("null", &[], 0, &[]);
    expect("[]\n", &[], 0, &[]);
}

#[test]
fn guard_4_crowdsec_tables() {
    expect(
        "id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id\n\
         1,crowdsec,Ip:192.0.2.1,crowdsecurity/ssh-bf,ban,US,\"64496 Example, Inc.\",11,3h59m49s,false,7\n\
         2,cscli,Range:2001:db8::/32,\"manual \"\"ban\"\"\",ban,,,1,4h0m0s,false,8\n\
         3,cscli,Ip:2001:db8::1,m,ban,,,1,4h0m0s,false,8\n\
         4,CAPI,Ip:192.0.2.2,m,ban,,,1,4h0m0s,true,8\n\
         5,CAPI,Country:XX,m,ban,,,1,4h0m0s,false,8\n\
         6,CAPI,Ip:192.0.2.3,m,captcha,,,1,4h0m0s,false,8\n\
         7,CAPI,Ip:192.0.2.4,m,ban,,,1,later,false,8\n\
         8,CAPI,Ip:192.0.2,m,ban,,,1,4h,false,8\n\
         9,CAPI,\"Ip:192.0.2.5,m,ban,,,1,4h,false,8\n\
         10,CAPI\n",
        &[
            "192.0.2.1/32 14329 crowdsecurity/ssh-bf",
            "2001:db8::/32 14340 manual \"ban\"",
            "2001:db8::1/128 14340 m",
        ],
        3,
        &[8, 9, 10, 11],
    );
    expect(
        "duration,scope,value\n24h,ip,192.0.2.1\n,,2001:db8::1\n",
        &["192.0.2.1/32 86340", "2001:db8::1/128 -"],
        0,
        &[],
    );
}

#[test]
fn guard_4_nothing_but_faults_is_no_list() {
    for text in [
        "<html><body>Service temporarily unavailable</body></html>",
        "none\n",
        "{\"error\": \"no\"}",
        "[{\"value\": 5}]",
        "[{\"decisions\": [",
        "[{'sshd': ['x']}]",
        "id,source,ip,reason\n1,cscli,Ip:x,m\n",
        "10.1.2.3/8\n",
        "\u{0}",
    ] {
        let problems = parse(text.as_bytes(), TIMES, 10).expect_err(text);
        assert!(problems.iter().all(|problem| problem.message.contains("expected")), "{text}: {problems:?}");
        assert!(
            !problems.iter().any(|problem| problem.message.contains(char::is_control)),
            "{text}: {problems:?}"
        );
    }
    assert!(parse(b"\xff\n", TIMES, 10).is_err());
    assert!(parse(&vec![b'#'; FILE_BYTES_MAX + 1], TIMES, 10).is_err());
}

#[test]
fn guard_4_bans_reasons_and_problems_are_bounded() {
    let many: String = (0..300).map(|n| format!("10.0.{}.{}\n", n / 256, n % 256)).collect();
    let list = parse(many.as_bytes(), TIMES, 100).unwrap();
    assert_eq!((list.bans.len(), list.problems.len(), list.faults()), (100, 1, 0));
    assert_eq!(
        (list.problems[0].line, list.problems[0].message.split(':').next()),
        (0, Some("200 bans are left out"))
    );
    let none = parse(many.as_bytes(), TIMES, 0).expect("a list, for which there is no room");
    assert_eq!((none.bans.len(), none.problems.len()), (0, 1));
    let faulty = format!("192.0.2.1\n{}", "x\n".repeat(200));
    let list = parse(faulty.as_bytes(), TIMES, 100).unwrap();
    assert_eq!((list.bans.len(), list.problems.len(), list.faults()), (1, PROBLEMS_MAX + 1, 200));
    assert!(list.problems[PROBLEMS_MAX].message.contains("100 more"));
    let reason = "é".repeat(300);
    let text = format!("value,reason\n192.0.2.1,{reason}\n192.0.2.2,a\u{7}b\n");
    let bans = parse(text.as_bytes(), TIMES, 10).unwrap().bans;
    assert_eq!((bans[0].reason.len(), &*bans[1].reason), (200, "ab"));
}
