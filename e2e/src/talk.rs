//! Two people who talk while something else goes on, and how long their words take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::client::Client;
use crate::dev::Dev;

/// Rooms are spoken in by turns: each gets less than 5 messages a second, so that what is measured is no tick.
const ROOMS: usize = 10;
const EVERY: Duration = Duration::from_millis(25);
/// How often the listener looks whether they have ended.
const LOOK: Duration = Duration::from_millis(50);
/// Longest silence.
const PAUSE: Duration = Duration::from_secs(5);
/// How long they talk undisturbed.
const CALM: Duration = Duration::from_millis(1500);
/// A promise of wall-clock time is given this slack, because tests share a machine.
const SLACK: u32 = 3;

/// The two, on a thread of their own.
pub struct Talk {
    heard: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
    calm_p99: Duration,
    calm: usize,
}

impl Talk {
    /// They meet, and talk undisturbed for a while.
    pub fn start(dev: &Dev) -> Result<Self> {
        let (heard, stop) = (Arc::<Mutex<Vec<Duration>>>::default(), Arc::<AtomicBool>::default());
        let (url, speaker, listener) = (dev.ready.url.clone(), dev.token("speaker")?, dev.token("listener")?);
        let (into, until) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("talk".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(talk(&url, &speaker, &listener, &into, &until))
        })?;
        let began = Instant::now();
        let calm = loop {
            std::thread::sleep(Duration::from_millis(20));
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).len();
            if heard >= 40 && began.elapsed() >= CALM {
                break heard;
            }
            if thread.is_finished() || began.elapsed() > CALM * 10 {
                bail!("the two do not hear each other: {:?}", thread.join().ok());
            }
        };
        let calm_p99 = p99(&heard.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { heard, stop, thread, calm_p99, calm })
    }

    /// They end. Every word must have been heard, and since the calm about as soon as in it: the 99th percentile at most
    /// 1.5 times as late, or 50 ms later. Says both.
    pub fn undisturbed(self) -> Result<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the talk has panicked")??;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let since = heard.get(self.calm..).unwrap_or_default();
        let (calm, disturbed) = (self.calm_p99, p99(since));
        let bound = (calm * 3 / 2).max(calm + Duration::from_millis(50)) * SLACK;
        let said = format!("p99 {calm:?} before, {disturbed:?} of {} words since", since.len());
        if disturbed > bound {
            bail!("others were disturbed: {said}, at most {bound:?}");
        }
        Ok(said)
    }
}

fn p99(all: &[Duration]) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get((all.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

async fn talk(url: &str, speaker: &str, listener: &str, heard: &Mutex<Vec<Duration>>, stop: &AtomicBool) -> Result<()> {
    let (mut speaker, _) = Client::hello(url, speaker).await?;
    let (mut listener, _) = Client::hello(url, listener).await?;
    for room in 0..ROOMS {
        for client in [&mut speaker, &mut listener] {
            client.ask(json!({"join": {"room": format!("talk-{room}")}})).await?;
        }
    }
    let said = Mutex::new(Vec::new());
    let speaking = async {
        let mut beat = tokio::time::interval(EVERY);
        for word in 0_usize.. {
            // A word that comes late because the one before took long is late too.
            let due = beat.tick().await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            said.lock().unwrap_or_else(PoisonError::into_inner).push(due);
            let room = format!("talk-{}", word % ROOMS);
            speaker.ask(json!({"publish": {"room": room, "lane": 1, "data": word}})).await.context("speaking")?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let listening = async {
        let mut last = Instant::now();
        loop {
            let so_far = heard.lock().unwrap_or_else(PoisonError::into_inner).len();
            if stop.load(Ordering::Relaxed) && so_far >= said.lock().unwrap_or_else(PoisonError::into_inner).len() {
                return Ok::<_, anyhow::Error>(());
            }
            match listener.next(LOOK).await {
                Ok(frame) => last = note(&frame, &said, heard).map(|()| Instant::now())?,
                // Somebody speaks until the end, so a pause that long is a word that was lost, or a listener cut off.
                Err(error) if last.elapsed() > PAUSE => return Err(error.context(format!("after {so_far} words"))),
                Err(error) if error.to_string().contains("closed") => return Err(error),
                Err(_) => {}
            }
        }
    };
    tokio::try_join!(speaking, listening)?;
    let (said, heard) = (said.into_inner(), heard.lock().unwrap_or_else(PoisonError::into_inner));
    let said = said.unwrap_or_else(PoisonError::into_inner).len();
    if heard.len() == said { Ok(()) } else { bail!("{said} words were said, {} heard", heard.len()) }
}

fn note(frame: &Value, said: &Mutex<Vec<tokio::time::Instant>>, heard: &Mutex<Vec<Duration>>) -> Result<()> {
    for message in frame.pointer("/segment/messages").and_then(Value::as_array).into_iter().flatten() {
        let word = message["data"].as_u64().and_then(|word| usize::try_from(word).ok()).context("a word")?;
        let due = said.lock().unwrap_or_else(PoisonError::into_inner).get(word).copied().context("was said")?;
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(due.elapsed());
    }
    Ok(())
}
