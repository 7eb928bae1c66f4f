//! Times, processor use and memory of processes, and their output.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Measured values of one quantity.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn at(&self, part: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * part) as usize]
    }

    pub(crate) fn show(&self) -> String {
        format!("{:8.3} ({:.3} to {:.3})", self.median(), self.0[0], self.0[self.0.len() - 1])
    }
}

/// This bench as another process.
pub(crate) fn myself(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words);
    command
}

/// Starts a child that prints one line once it is ready.
pub(crate) fn start(mut command: Command) -> (Child, String) {
    use std::io::{BufRead, BufReader};
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

/// Runs a shell command and returns how long it took.
pub(crate) fn shell(script: &str) -> f64 {
    let begun = Instant::now();
    let status = Command::new("bash").arg("-c").arg(script).status().unwrap();
    assert!(status.success(), "{script}");
    begun.elapsed().as_secs_f64()
}

/// Processor time of a process so far, its threads together.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Linux reports these times in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// A value of `/proc/PID/status`, such as `VmHWM`.
pub(crate) fn status(process: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How often a process has yielded the processor: it woke up as often before that.
pub(crate) fn wake_ups(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = text.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        })
        .sum()
}

/// A counter of `/proc/PID/io`.
pub(crate) fn io(process: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn title(text: &str) {
    println!("\n== {text}");
}
