//! Two people who talk while something else goes on, how long their words take, and what the gateway holds meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::client::Client;
use crate::dev::{Dev, rss_bytes};
use crate::slack;

/// Rooms are spoken in by turns: each gets less than 5 messages a second, so that what is measured is no tick.
const ROOMS: usize = 16;
const EVERY: Duration = Duration::from_millis(15);
/// How often the listener looks whether they have ended.
const LOOK: Duration = Duration::from_millis(50);
/// Longest silence.
const PAUSE: Duration = Duration::from_secs(10);
/// How long they talk undisturbed.
const CALM: Duration = Duration::from_secs(1);
/// Words of which a percentile says something.
const ENOUGH: usize = 60;
/// What the gateway's process may grow by while they talk, whatever others do: a hundred clients with full queues
/// and the rooms they are in, or a thousand connections.
const MEMORY_BYTES: u64 = 48 * MIB;
const MIB: u64 = 1024 * 1024;

/// The two, on a thread of their own. They end when this is dropped.
pub struct Talk {
    words: Arc<Words>,
    thread: Option<JoinHandle<Result<()>>>,
    calm_p99: Duration,
    calm: usize,
    /// Of the gateway's process at the end of the calm.
    calm_bytes: u64,
}

/// What was said and heard.
#[derive(Default)]
struct Words {
    /// Tells this talk from others in the same rooms.
    talk: u64,
    said: Mutex<Vec<tokio::time::Instant>>,
    heard: Mutex<Vec<Duration>>,
    /// The most memory that the gateway's process was seen to hold.
    most_bytes: AtomicU64,
    stop: AtomicBool,
}

impl Words {
    fn said(&self) -> MutexGuard<'_, Vec<tokio::time::Instant>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Talk {
    /// They meet, and talk undisturbed for a while.
    pub fn start(dev: &Dev) -> Result<Self> {
        static TALKS: AtomicU64 = AtomicU64::new(1);
        let words = Arc::new(Words { talk: TALKS.fetch_add(1, Ordering::Relaxed), ..Words::default() });
        let (url, speaker, listener) = (dev.ready.url.clone(), dev.token("speaker")?, dev.token("listener")?);
        let gateway = dev.ready.pods.iter().find(|pod| pod.role == "gateway").context("a gateway")?.pid;
        let theirs = Arc::clone(&words);
        let thread = std::thread::Builder::new().name("talk".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::try_join!(talk(&url, &speaker, &listener, &theirs), weigh(gateway, &theirs)).map(drop)
            })
        })?;
        let mut talk = Self { words, thread: Some(thread), calm_p99: Duration::ZERO, calm: 0, calm_bytes: 0 };
        (talk.calm_p99, talk.calm) = talk.listen()?;
        talk.calm_bytes = rss_bytes(gateway)?;
        talk.words.most_bytes.store(talk.calm_bytes, Ordering::Relaxed);
        Ok(talk)
    }

    /// The 99th percentile of what is heard in a while from now on, and how much was heard until its end.
    fn listen(&mut self) -> Result<(Duration, usize)> {
        let (began, before) = (Instant::now(), self.words.heard().len());
        loop {
            std::thread::sleep(EVERY);
            let heard = self.words.heard();
            if heard.len() >= before + ENOUGH && began.elapsed() >= CALM {
                return Ok((p99(heard.get(before..).unwrap_or_default()), heard.len()));
            }
            let so_far = heard.len() - before;
            drop(heard);
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                let ended =
                    self.thread.take().and_then(|thread| thread.join().ok()).context("the talk has panicked")?;
                return Err(ended.err().context("the talk is over")?.context(format!("after {so_far} words")));
            }
            if began.elapsed() > CALM * 30 {
                bail!("the two hear too little of each other: {so_far} words in {:?}", began.elapsed());
            }
        }
    }

    /// Whether they have said enough since the calm to judge by.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.words.heard().len() >= self.calm + ENOUGH || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until they have.
    pub async fn enough(&self) {
        while !self.is_enough() {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// They end. Every word must have been heard, and since the calm about as soon as in it: the 99th percentile at most
    /// 1.5 times as late, or 50 ms later. If it was not, they talk a while longer: what is as slow without the disturbance,
    /// which its test has ended by now, was not disturbed, but is on a busy machine. Nor may the gateway have grown by more than any abuse may cost. Says all of it.
    pub fn undisturbed(mut self) -> Result<String> {
        let disturbed = p99(self.words.heard().get(self.calm..).unwrap_or_default());
        let words = self.words.heard().len() - self.calm;
        let bound = |calm: Duration| (calm * 3 / 2).max(calm + Duration::from_millis(50)).mul_f64(slack());
        if disturbed > bound(self.calm_p99) && !self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            // What stays slow for good when the disturbance is over is no busy machine.
            let most = (self.calm_p99 + Duration::from_millis(50)) * 2;
            self.calm_p99 = self.calm_p99.max(self.listen()?.0.min(most));
        }
        self.words.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).context("the talk has panicked")??;
        let grown = self.words.most_bytes.load(Ordering::Relaxed).saturating_sub(self.calm_bytes);
        let said = format!(
            "p99 {:?} in calm, {disturbed:?} of {words} words in between; {} MiB more at most",
            self.calm_p99,
            grown / MIB
        );
        if disturbed > bound(self.calm_p99) {
            bail!("others were disturbed: {said}, at most {:?}", bound(self.calm_p99));
        }
        if grown > MEMORY_BYTES {
            bail!("it costs too much memory: {said}, at most {} MiB", MEMORY_BYTES / MIB);
        }
        Ok(said)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.words.stop.store(true, Ordering::Relaxed);
    }
}

fn p99(all: &[Duration]) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get((all.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// Joins a room. Who was in it half a minute ago, in an earlier talk, may be taken out of it just now, and is told to try again.
async fn enter(client: &mut Client, room: &str) -> Result<()> {
    let until = Instant::now() + PAUSE;
    loop {
        let answer = client.try_ask(json!({"join": {"room": room}})).await?;
        match answer.pointer("/error/code").and_then(Value::as_str) {
            None => return Ok(()),
            Some("unavailable") if Instant::now() < until => tokio::time::sleep(LOOK).await,
            Some(_) => bail!("{answer}"),
        }
    }
}

async fn talk(url: &str, speaker: &str, listener: &str, words: &Words) -> Result<()> {
    let (mut speaker, _) = Client::hello(url, speaker).await?;
    let (mut listener, _) = Client::hello(url, listener).await?;
    for room in 0..ROOMS {
        for client in [&mut speaker, &mut listener] {
            enter(client, &format!("talk-{room}")).await?;
        }
    }
    let speaking = async {
        let mut beat = tokio::time::interval(EVERY);
        for word in 0_usize.. {
            // A word that comes late because the one before took long is late too.
            let due = beat.tick().await;
            if words.ends() {
                break;
            }
            words.said().push(due);
            let (room, data) = (format!("talk-{}", word % ROOMS), json!([words.talk, word]));
            speaker.ask(json!({"publish": {"room": room, "lane": 1, "data": data}})).await.context("speaking")?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let listening = async {
        let mut last = Instant::now();
        loop {
            let so_far = words.heard().len();
            if words.ends() && so_far >= words.said().len() {
                return Ok::<_, anyhow::Error>(());
            }
            match listener.next(LOOK).await {
                Ok(frame) => last = note(&frame, words).map(|()| Instant::now())?,
                // Somebody speaks until the end, so a pause that long is a word that was lost, or a listener cut off.
                Err(error) if last.elapsed() > PAUSE => return Err(error.context(format!("after {so_far} words"))),
                Err(error) if error.to_string().contains("closed") => return Err(error),
                Err(_) => {}
            }
        }
    };
    tokio::try_join!(speaking, listening)?;
    let (said, heard) = (words.said().len(), words.heard().len());
    if heard == said { Ok(()) } else { bail!("{said} words were said, {heard} heard") }
}

/// Looks how much memory a process holds until the talk ends.
async fn weigh(pid: u32, words: &Words) -> Result<()> {
    while !words.ends() {
        words.most_bytes.fetch_max(rss_bytes(pid)?, Ordering::Relaxed);
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn note(frame: &Value, words: &Words) -> Result<()> {
    for message in frame.pointer("/segment/messages").and_then(Value::as_array).into_iter().flatten() {
        if message.pointer("/data/0") != Some(&Value::from(words.talk)) {
            continue;
        }
        let word = message.pointer("/data/1").and_then(Value::as_u64).context("a word")?;
        let due = words.said().get(usize::try_from(word)?).copied().context("was said")?;
        words.heard().push(due.elapsed());
    }
    Ok(())
}
