//! One stream of lines: what the host says, and what functions print.

use std::io::Write;

/// Who speaks when it is no function.
pub const HOST: &str = "host";

/// Writes one line to standard output, behind the name of who says it. The lock of standard output keeps lines whole.
pub fn line(who: &str, text: &str) {
    // Unit tests say what they have to say by failing; this would go past their runner.
    if cfg!(test) {
        return;
    }
    let mut output = std::io::stdout().lock();
    if writeln!(output, "{who:<17} | {text}").is_err() {
        // Nobody listens any more, which is no reason to stop.
    }
}
