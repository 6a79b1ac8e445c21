//! What a process of this machine has used, from `/proc`.

use std::fs;
use std::time::Duration;

/// The kernel counts CPU time for user space in hundredths of a second on every
/// architecture, whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// A process on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
}

/// How much memory a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The most it ever had, in bytes.
    pub peak: u64,
    /// What it has now, in bytes.
    pub resident: u64,
}

impl Process {
    /// CPU time in user space and kernel, without children. `None` when the
    /// process is gone.
    pub fn cpu(self) -> Option<Duration> {
        parse_cpu(&fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?)
    }

    /// Its memory. `None` when the process is gone.
    pub fn memory(self) -> Option<Memory> {
        parse_memory(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The name stands in parentheses and may hold spaces and parentheses; the
    // fields behind it are counted from 3.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

fn parse_memory(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { peak: bytes("VmHWM:")?, resident: bytes("VmRSS:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "12 (a) b) (c) S 1 12 12 0 -1 4194560 100 200 0 0 150 75 9 9 20 0 8 0 1 2 3";
        assert_eq!(parse_cpu(stat), Some(Duration::from_millis(2250)));
        assert_eq!(parse_cpu("12 (a) S 1"), None);
        assert_eq!(parse_cpu(""), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t     200 kB\nVmRSS:\t     100 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { peak: 204_800, resident: 102_400 }));
        assert_eq!(parse_memory("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let me = Process { pid: std::process::id() };
        assert!(me.cpu().is_some());
        let memory = me.memory().expect("we run");
        assert!(memory.peak >= memory.resident && memory.resident > 0);
    }
}
