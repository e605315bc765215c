//! Whatever the text, the answer is a stack or an error: never a panic, never an endless run.

use proptest::{prelude::*, test_runner::Config};

use super::{read_with, whole::text};

const GIVEN: [(&str, &str); 1] = [("GatewayApiKey", "sk_test_0123456789abcdef")];

/// What makes YAML go wrong, and intrinsics with it.
const FRAGMENTS: [&str; 40] = [
    "!Ref ",
    "!Sub ",
    "!If [",
    "!GetAtt ",
    "!Select [9, ",
    "!Split [",
    "!Join ",
    "Fn::Sub: ",
    "Ref: ",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "|",
    ">-\n",
    "&a ",
    "*a",
    "? ",
    "~",
    "null",
    "${",
    "}",
    "---\n",
    "...\n",
    "%",
    "\t",
    "#",
    "99999999999999999999",
    "-1",
    "\u{feff}",
    "ä",
    "{{resolve:",
    "!!str ",
    "!Not [",
];

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    #[test]
    fn a_cut_template_is_no_panic(at in 0_usize..45_000) {
        let text = text();
        let cut: String = text.chars().take(at).collect();

        let _outcome = read_with(&cut, &GIVEN);
    }

    #[test]
    fn a_changed_template_is_no_panic(
        changes in proptest::collection::vec((0_usize..45_000, 0_usize..40, 0_usize..12), 1..6),
    ) {
        let mut characters: Vec<char> = text().chars().collect();
        for (at, fragment, gone) in changes {
            let at = at.min(characters.len());
            let end = at.saturating_add(gone).min(characters.len());
            characters.splice(at..end, FRAGMENTS[fragment].chars());
        }
        let changed: String = characters.into_iter().collect();

        let _outcome = read_with(&changed, &GIVEN);
    }

    #[test]
    fn moved_lines_are_no_panic(from in 0_usize..1_100, to in 0_usize..1_100, indent in 0_usize..9) {
        let text = text();
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let line = lines.remove(from.min(lines.len() - 1));
        lines.insert(to.min(lines.len()), format!("{}{}", " ".repeat(indent), line.trim_start()));

        let _outcome = read_with(&lines.join("\n"), &GIVEN);
    }

    #[test]
    fn any_text_is_no_panic(text in "[ -~\\n\\t!&*{}:,\\[\\]|>%@äß\u{feff}-]{0,200}") {
        let _outcome = read_with(&text, &GIVEN);
        let _outcome = read_with(&format!("Resources:\n{text}"), &GIVEN);
    }
}

#[test]
fn what_repeats_itself_without_end_is_refused() {
    let mut laughs = "A: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("B{level}: &a{level} [{before}x]\n"));
    }
    let deep = format!("Resources: {}x{}", "[".repeat(5_000), "]".repeat(5_000));
    let nots = format!("Conditions:\n  A: {}x{}\nResources: {{}}", "!Not [".repeat(200), "]".repeat(200));
    let mut chain = "Resources: {}\nConditions:\n  C0: !Equals [a, a]\n".to_owned();
    for number in 1..200 {
        chain.push_str(&format!("  C{number}: !Not [!Condition C{}]\n", number - 1));
    }
    let mut indented = "Resources:\n".to_owned();
    for level in 1..600 {
        indented.push_str(&format!("{}a:\n", " ".repeat(level)));
    }

    for (text, expected) in [
        (laughs, "more than 100000 values"),
        (deep, ""),
        (nots, "levels"),
        (chain.replace("C0:", "D0:"), "there is no condition"),
        (indented, "levels"),
    ] {
        let error = read_with(&text, &[]).unwrap_err();

        assert!(error.message.contains(expected), "{error}");
    }
    // Conditions are worked out in the order of their names: C199 asks for C198, and so on down.
    let outcome = read_with(&chain, &[]);
    assert!(outcome.is_ok() || outcome.unwrap_err().message.contains("levels"));
}
