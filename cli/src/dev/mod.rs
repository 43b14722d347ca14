//! `throng dev`: a whole cluster in one process, for people who try it out and for the tests.
//!
//! [`world`] holds the Pods, [`pod`] runs one on a thread of its own with real sockets to the others, [`planner`] decides
//! with the production planner where slots should be, [`web`] serves the page, [`pools`] has its figures. [`port`] keeps the
//! public port; [`bots`] fill a room with people who [`talk`], and [`leave`] tidies up.

mod args;
mod bots;
mod child;
mod leave;
mod outside;
mod planner;
mod pod;
mod pools;
mod port;
mod talk;
mod web;
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use throng_core::Role;
use throng_node::config::Sources;
use throng_proto::key::PodKey;
use throng_registry::{EtcdOptions, EtcdRegistry, MemoryRegistry, Registry};
use throng_store::MemoryDb;
use tokio_util::sync::CancellationToken;

pub(crate) use args::DevArgs;
pub(crate) use child::run as run_child;

use crate::{logs, roles, token};
use bots::{Bots, LOBBY};
use pod::{Ingredients, Stores};
use port::Port;
use world::World;

/// Key of the server API in dev.
pub(crate) const DEV_API_KEY: &str = "throng-dev-api-key";
/// What keys of all runs begin with in a Redis and an etcd.
const NAMESPACE: &str = "throng-dev";
/// The cluster must serve within so long, or it says why not.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Runs until Ctrl-C, or with `--json` until standard input closes.
pub(crate) fn run(args: &DevArgs) -> Result<ExitCode> {
    logs::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(start(args));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn start(args: &DevArgs) -> Result<ExitCode> {
    let began = Instant::now();
    let port = Port::take(args.listen)?;
    let listen = port.address();
    let mut config = roles::dev_config(&Sources { file: args.config.clone(), sets: args.sets.clone() })?;
    bots::make_room(args, &mut config)?;
    let config = Arc::new(config);
    let cluster = format!("dev-{}", uuid::Uuid::new_v4().simple());
    let registry = registry(args, &cluster)?;
    outside::answers(args, &*registry, &cluster).await?;
    let stores = match &args.redis {
        Some(url) => Stores::Redis { url: url.clone(), cluster: cluster.clone() },
        None => Stores::Memory(MemoryDb::founded()),
    };
    let pod_key_text = uuid::Uuid::new_v4().to_string();
    let pod_key = PodKey::new(&pod_key_text).context("a generated key is visible ASCII")?;
    let stop = CancellationToken::new();

    let world = Arc::new_cyclic(|world| {
        let page = web::router(world.clone());
        World::new(Ingredients {
            config,
            registry: Arc::clone(&registry),
            stores,
            pod_key,
            pod_key_text,
            isolate_gateways: args.isolate_gateways,
            listen,
            page,
        })
    });
    let expected = planner::Expected { chatrooms: usize::from(args.chatrooms), messages: usize::from(args.messages) };
    let planning = tokio::spawn(planner::run(registry, Arc::clone(&world), expected, stop.clone()));
    add_all(&world, args).await?;
    wait_ready(&world).await?;
    report(&world, args, listen, began.elapsed())?;
    if args.bots > 0 {
        world.send_bots(Bots::start(args, &format!("ws://{}/connect", near(listen)))?);
    }

    let tidying = tokio::spawn(tidy(Arc::clone(&world)));
    wait_for_end(args.json).await?;
    tidying.abort();
    eprintln!("ending");
    let ending = Arc::clone(&world);
    tokio::task::spawn_blocking(move || ending.stop()).await?;
    stop.cancel();
    let _ = planning.await;
    leave::nothing_behind(args, &cluster).await;
    Ok(ExitCode::SUCCESS)
}

/// In memory, or in the etcd that was named. Each run is a cluster of its own there.
fn registry(args: &DevArgs, cluster: &str) -> Result<Arc<dyn Registry>> {
    if args.etcd.is_empty() {
        return Ok(Arc::new(MemoryRegistry::new()));
    }
    let registry = EtcdRegistry::new(EtcdOptions::new(args.etcd.clone(), NAMESPACE, cluster));
    Ok(Arc::new(registry.context("cannot use this etcd")?))
}

/// How this machine reaches itself, where it listens on all of its addresses.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn add_all(world: &Arc<World>, args: &DevArgs) -> Result<()> {
    let pools = [(Role::Chatroom, args.chatrooms), (Role::Message, args.messages), (Role::Gateway, args.gateways)];
    let world = Arc::clone(world);
    tokio::task::spawn_blocking(move || {
        for (role, count) in pools {
            for _ in 0..count {
                world.add(role)?;
            }
        }
        Ok(())
    })
    .await?
}

async fn wait_ready(world: &World) -> Result<()> {
    let began = Instant::now();
    loop {
        let reasons = world.unready();
        if reasons.is_empty() {
            return Ok(());
        }
        if began.elapsed() > READY_WITHIN {
            bail!("not ready within {READY_WITHIN:?}: {}", reasons.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tidy(world: Arc<World>) {
    let mut timer = tokio::time::interval(Duration::from_millis(500));
    loop {
        timer.tick().await;
        world.tidy();
    }
}

/// The one line of `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    url: String,
    urls: Vec<String>,
    http: String,
    token_secret: &'a str,
    api_key: &'a str,
    took_ms: u128,
    pods: Vec<ReadyPod>,
}

#[derive(Serialize)]
struct ReadyPod {
    name: String,
    role: Role,
    pid: u32,
    http: String,
}

fn report(world: &World, args: &DevArgs, listen: SocketAddr, took: Duration) -> Result<()> {
    let url = format!("ws://{listen}/connect");
    let http = format!("http://{listen}");
    if args.json {
        let pods = world.living().into_iter();
        let pods = pods.map(|(name, role, pid, http)| ReadyPod { name, role, pid, http: format!("http://{http}") });
        let ready = Ready {
            urls: vec![url.clone()],
            url,
            http,
            token_secret: token::DEV_SECRET,
            api_key: DEV_API_KEY,
            took_ms: took.as_millis(),
            pods: pods.collect(),
        };
        println!("{}", serde_json::to_string(&ready)?);
        return Ok(());
    }
    let token = token::sign(token::DEV_SECRET, "you", 1, &[], 24 * 3600)?;
    let bots = match (args.bots, args.rate) {
        (0, _) => String::new(),
        (bots, rate) => format!("\n{bots} bots are on their way to the room {LOBBY}, to say {rate} messages/s."),
    };
    let page = match (args.gateways, args.isolate_gateways) {
        (0, _) => "none without a gateway".to_owned(),
        (_, true) => "none with --isolate-gateways".to_owned(),
        (_, false) => format!("{http}/"),
    };
    let kept = match &args.redis {
        Some(_) => "rooms are kept in Redis until it ends",
        None => "everything is in memory",
    };
    println!(
        "Throng dev is ready ({} ms): {} gateways, {} chatroom and {} message Pods.{bots}

  page    {page}
  connect {url}
  token   {token}
  API     curl -H 'Authorization: Bearer {DEV_API_KEY}' {http}/v1/rooms

Chat from another terminal, in the project's folder:
  examples/python/chat.py --url {url} --token {token} --room {LOBBY}

NOT FOR PRODUCTION: fixed keys; {kept}. Ctrl-C ends it and leaves nothing behind.",
        took.as_millis(),
        args.gateways,
        args.chatrooms,
        args.messages,
    );
    Ok(())
}

async fn wait_for_end(json: bool) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let closed = async {
        if json {
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.ok();
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        done = tokio::signal::ctrl_c() => done?,
        _ = terminate.recv() => {}
        () = closed => {}
    }
    Ok(())
}
