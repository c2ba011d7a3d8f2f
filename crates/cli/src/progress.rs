//! What one sees while a run is up: a bar or a live line on a terminal, a log line every few seconds
//! elsewhere. One thread (`progress`) reads the run's counters; it ends when [`Progress`] is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millstream_engine::{Live, Phase};

use crate::logging;
use crate::output::{duration, thousands};

const DRAW_EVERY: Duration = Duration::from_millis(100);
const LOG_EVERY: Duration = Duration::from_secs(5);
/// The rate is measured over about this long.
const RATE_OVER: Duration = Duration::from_secs(2);
/// Parts of the bar.
const BAR_LEN: u64 = 1_000_000;

/// The thread that shows progress; dropping it takes the bar away.
pub struct Progress {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show the progress of a run; `bar` for a terminal.
    pub fn start(name: &str, bounded: bool, bar: bool, live: Arc<Live>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let name = name.to_owned();
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let mut meter = Meter::new(Instant::now());
            let bar = bar.then(|| new_bar(&name, bounded));
            logging::set_bar(bar.clone());
            let every = if bar.is_some() { DRAW_EVERY } else { LOG_EVERY };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let seen = meter.look(Instant::now(), &live);
                match &bar {
                    Some(bar) => draw(bar, &seen),
                    None => log(&seen),
                }
            }
            logging::set_bar(None);
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn new_bar(name: &str, bounded: bool) -> ProgressBar {
    let name = name.replace('{', "{{").replace('}', "}}");
    let template = if bounded {
        format!("{{spinner}} {name}  [{{bar:24}}] {{msg}}")
    } else {
        format!("{{spinner}} {name}  {{msg}}")
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(BAR_LEN), ProgressDrawTarget::stderr());
    bar.set_style(style.progress_chars("=> "));
    bar
}

fn draw(bar: &ProgressBar, seen: &Seen) {
    bar.set_position(seen.fraction_ppm.unwrap_or(0));
    bar.set_message(seen.text());
    bar.tick();
}

fn log(seen: &Seen) {
    let phase = phase_name(seen.phase);
    let percent = seen.fraction_ppm.map(|ppm| ppm as f64 / 1e4);
    let (folded, left) = match seen.phase {
        Phase::Recovering { folded, left } => (Some(folded), Some(left)),
        _ => (None, None),
    };
    let (rate, eta_s) = (seen.rate.round() as u64, seen.eta.map(|eta| eta.as_secs()));
    tracing::info!(
        phase,
        folded,
        left_to_fold = left,
        events = seen.events,
        events_per_s = rate,
        lag = seen.lag,
        percent,
        eta_s,
        dead_letters = seen.dead_letters,
        "progress"
    );
}

/// The name of a phase in logs and in `GET /status`.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Recovering { .. } => "recovering",
        Phase::Running => "running",
        Phase::Draining => "draining",
    }
}

/// What the counters say at one moment.
struct Seen {
    phase: Phase,
    events: u64,
    dead_letters: u64,
    /// Events processed or folded a second.
    rate: f64,
    lag: u64,
    fraction_ppm: Option<u64>,
    eta: Option<Duration>,
}

impl Seen {
    fn text(&self) -> String {
        let mut text = match self.phase {
            Phase::Starting => return "starting".to_owned(),
            Phase::Recovering { folded, left } => {
                let (folded, left) = (thousands(folded), thousands(left));
                let rate = thousands(self.rate.round() as u64);
                return format!("rebuilding state: {folded} events folded, {rate}/s, {left} left");
            }
            Phase::Draining => "committing: ".to_owned(),
            Phase::Running => String::new(),
        };
        if let Some(ppm) = self.fraction_ppm {
            text += &format!("{}%  ", ppm / 10_000);
        }
        text += &format!("{} events  {}/s", thousands(self.events), thousands(self.rate.round() as u64));
        if self.fraction_ppm.is_none() {
            text += &format!("  lag {}", thousands(self.lag));
        }
        if self.dead_letters > 0 {
            text += &format!("  {} dead letters", thousands(self.dead_letters));
        }
        if let Some(eta) = self.eta {
            text +=
                &format!("  ETA {}", if eta.as_secs() < 60 { format!("{} s", eta.as_secs()) } else { duration(eta) });
        }
        text
    }
}

/// Turns counts into rates.
struct Meter {
    /// Earlier looks, oldest first, over [`RATE_OVER`]: time, events, fraction.
    looks: std::collections::VecDeque<(Instant, u64, u64)>,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { looks: [(now, 0, 0)].into() }
    }

    fn look(&mut self, now: Instant, live: &Live) -> Seen {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ppm = Some(get(&live.fraction_ppm)).filter(|&ppm| ppm != u64::MAX).map(|ppm| ppm.min(BAR_LEN));
        let (rate, eta) = self.rates(now, get(&live.events) + get(&live.folded), ppm);
        Seen {
            phase: live.phase(),
            events: get(&live.events),
            dead_letters: get(&live.dead_letters),
            rate,
            lag: get(&live.lag),
            fraction_ppm: ppm,
            eta,
        }
    }

    /// Events a second, and how long the rest of the input will take at the pace of the last looks.
    fn rates(&mut self, now: Instant, events: u64, ppm: Option<u64>) -> (f64, Option<Duration>) {
        while self.looks.len() > 1 && self.looks.get(1).is_some_and(|(at, ..)| now.duration_since(*at) >= RATE_OVER) {
            self.looks.pop_front();
        }
        let (at, events_then, ppm_then) = self.looks.front().copied().unwrap_or((now, 0, 0));
        let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
        self.looks.push_back((now, events, ppm.unwrap_or(0)));
        let eta = ppm.filter(|&ppm| ppm > ppm_then).and_then(|ppm| {
            let pace = (ppm - ppm_then) as f64 / seconds;
            Duration::try_from_secs_f64(((BAR_LEN - ppm) as f64 / pace).ceil()).ok()
        });
        (events.saturating_sub(events_then) as f64 / seconds, eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(start);
        let (rate, eta) = meter.rates(at(1000), 500, Some(100_000));
        assert_eq!(rate.round(), 500.0);
        assert_eq!(eta, Some(Duration::from_secs(9)));
        let _ = meter.rates(at(2000), 1500, Some(200_000));
        let (rate, _) = meter.rates(at(3000), 1500, Some(200_000));
        assert_eq!(rate.round(), 500.0, "1000 events in the last two seconds");
        let (rate, eta) = meter.rates(at(60_000), 1500, None);
        assert_eq!((rate.round(), eta), (0.0, None));
    }

    #[test]
    fn the_line_says_what_matters() {
        let mut seen = Seen {
            phase: Phase::Running,
            events: 1234,
            dead_letters: 2,
            rate: 99.6,
            lag: 7,
            fraction_ppm: None,
            eta: None,
        };
        assert_eq!(seen.text(), "1,234 events  100/s  lag 7  2 dead letters");
        seen.fraction_ppm = Some(431_000);
        seen.eta = Some(Duration::from_secs(3));
        assert_eq!(seen.text(), "43%  1,234 events  100/s  2 dead letters  ETA 3 s");
        seen.phase = Phase::Recovering { folded: 5000, left: 2000 };
        assert_eq!(seen.text(), "rebuilding state: 5,000 events folded, 100/s, 2,000 left");
    }
}
