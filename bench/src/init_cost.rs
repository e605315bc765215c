//! Measures what each function's init costs: the CPU time and memory of its process from its start to its first request
//! for an invocation, as the kernel counts them, and the size of its binary.
//!
//! `cargo run --release --bin init-cost` measures the binaries that `./scripts/up --release` has built; another folder
//! may be named: `… -- target/debug`. The Runtime API and every AWS service are played by this program, over plain HTTP
//! on loopback: connections are warmed as in AWS, but without TLS.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Starts of each binary; the median is printed.
const RUNS: usize = 15;
/// A function that has not asked for an invocation by then never will.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Every function, by the name of its binary.
const FUNCTIONS: [&str; 6] = ["api", "processor", "webhook-sender", "analytics", "sweeper", "gateway-simulator"];
/// Root certificates in one file, as Amazon Linux has them. Debian has each in a file of its own as well; reading those
/// too costs 6 CPU-ms that no function pays in AWS.
const ROOT_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What the template sets, in one for all functions; a test compares the names.
const SETTINGS: [(&str, &str); 24] = [
    ("ACCESS_TOKEN_GENERATION", "1"),
    ("ANALYTICS_TABLE", "measured"),
    ("AUDIT_RETENTION_DAYS", "0"),
    ("AUDIT_TABLE", "measured"),
    ("DELIVERY_RETENTION_DAYS", "90"),
    ("EVENTS_TOPIC_ARN", "arn:aws:sns:us-east-1:000000000000:measured"),
    ("FLORIN_MODE", "test"),
    ("GATEWAY_API_KEY", "sk_test_measured00000000"),
    ("GATEWAY_TABLE", "measured"),
    ("IDEMPOTENCY_TABLE", "measured"),
    ("MERCHANTS_TABLE", "measured"),
    ("OIDC_AUDIENCE", ""),
    ("OIDC_ISSUER", ""),
    ("OIDC_MERCHANT_CLAIM", "custom:merchant_id"),
    ("OIDC_SCOPE_CLAIM", "scope"),
    ("PAYMENTS_TABLE", "measured"),
    ("PUBLIC_URL", "https://measured.example"),
    ("QUEUE_PREFIX", "measured"),
    ("REQUESTS_PER_SECOND_PER_KEY", "500"),
    ("REQUEST_BURST_PER_KEY", "1000"),
    ("ROOT_KEY", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"),
    ("SIGN_UP", "operators"),
    ("WEBHOOKS_TABLE", "measured"),
    ("WEBHOOK_ALLOW_LOOPBACK", "false"),
];
/// Nanoseconds in a microsecond.
const NS_PER_US: u64 = 1_000;

/// What one start cost.
struct Cost {
    cpu_us: u64,
    peak_kib: u64,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/lambda".to_owned()));
    let (asked, next) = channel();
    let address = serve(asked)?;
    println!("{:<18}{:>12}{:>15}{:>16}", "function", "size (KiB)", "init CPU (ms)", "peak RSS (MiB)");
    for function in FUNCTIONS {
        let binary = binary(&folder, function)?;
        let mut costs = (0..RUNS).map(|_| start(&binary, &address, &next)).collect::<Result<Vec<_>>>()?;
        costs.sort_by_key(|cost| cost.cpu_us);
        let median = costs.get(RUNS / 2).context("no run")?;
        let size = fs::metadata(&binary)?.len() / 1_024;
        let (ms, us) = (median.cpu_us / 1_000, median.cpu_us % 1_000 / 100);
        let (mib, tenths) = (median.peak_kib / 1_024, median.peak_kib % 1_024 * 10 / 1_024);
        println!("{function:<18}{size:>12}{:>15}{:>16}", format!("{ms}.{us}"), format!("{mib}.{tenths}"));
    }
    Ok(())
}

/// cargo-lambda puts each binary into a folder of its own, as `bootstrap`; plain cargo does not.
fn binary(folder: &Path, function: &str) -> Result<PathBuf> {
    let candidates = [folder.join(function).join("bootstrap"), folder.join(function)];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{function} is not in {}: build it with ./scripts/up --release", folder.display()))
}

/// Plays the Runtime API and AWS; says when a function asks for its first invocation.
fn serve(asked: Sender<()>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let asked = asked.clone();
            thread::spawn(move || answer(connection, &asked));
        }
    });
    Ok(address)
}

/// Answers every request with an empty JSON object, but that for an invocation never.
fn answer(connection: TcpStream, asked: &Sender<()>) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let mut request = String::new();
        reader.read_line(&mut request).ok().filter(|read| *read > 0)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if header.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        if request.contains("/invocation/next") {
            asked.send(()).ok()?;
        } else {
            writer
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                .ok()?;
        }
    }
}

fn start(binary: &Path, address: &str, asked: &Receiver<()>) -> Result<Cost> {
    let endpoint = format!("http://{address}");
    let mut child = Command::new(binary)
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", address),
            ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "measured"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "measured"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "measured"),
            ("AWS_SECRET_ACCESS_KEY", "measured"),
            ("SSL_CERT_FILE", ROOT_CERTIFICATES),
            ("QUEUE_URL", &format!("{endpoint}/000000000000/measured")),
            ("GATEWAY_BASE_URL", &endpoint),
        ])
        .envs(SETTINGS)
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let ready = asked.recv_timeout(INIT_TIMEOUT);
    let cost = cost(child.id());
    stop(&mut child)?;
    if ready.is_err() {
        bail!("{} did not ask for an invocation; what it lacked stands above", binary.display());
    }
    cost
}

/// What the kernel has counted for a process: CPU time of all its threads, and the most memory it has held.
fn cost(pid: u32) -> Result<Cost> {
    let mut cpu_ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        cpu_ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("no schedstat")?;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak_kib = peak.and_then(|text| text.trim().split(' ').next()?.parse().ok()).context("no VmHWM")?;
    Ok(Cost { cpu_us: cpu_ns / NS_PER_US, peak_kib })
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}
