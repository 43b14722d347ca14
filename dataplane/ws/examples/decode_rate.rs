//! How long the decoder takes per frame: `cargo run --release -p throng-ws --example decode_rate`.
//!
//! Prints nanoseconds per masked text frame, for frames that lie whole in the read buffer (as almost all do) and for
//! reads that cut them. Filling the buffer, which a kernel would do, is timed apart and taken off.

use std::hint::black_box;
use std::time::Instant;

use throng_ws::{Decoder, Event, Flow, Limits};

const ROUNDS: u32 = 2_000;
const SCRATCH_BYTES: usize = 64 << 10;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() {
    for payload_bytes in [10, 100, 1_000, 10_000] {
        let frame = masked_text(payload_bytes);
        let stream = frame.repeat(SCRATCH_BYTES / frame.len());
        let frames = stream.len() / frame.len();
        let whole = ns_per_frame(&stream, frames, stream.len());
        let cut = ns_per_frame(&stream, frames, frame.len() * 2 / 3);
        println!("{payload_bytes:>6} bytes: {whole:7.1} ns whole in the buffer, {cut:7.1} ns cut by reads");
    }
}

fn ns_per_frame(stream: &[u8], frames: usize, read_bytes: usize) -> f64 {
    let mut decoder = Decoder::default();
    let mut scratch = vec![0; stream.len()];
    let mut payload_bytes = 0;
    let with_decoding = timed(|| {
        scratch.copy_from_slice(stream);
        for read in scratch.chunks_mut(read_bytes) {
            let fed = decoder.feed(read, &Limits::default(), &mut |event| {
                if let Event::Text(text) = event {
                    payload_bytes += black_box(text).len();
                }
                Flow::Continue
            });
            let open = fed.map(|fed| fed.open);
            assert_eq!(open, Ok(true), "the frames are right");
        }
    });
    let copying = timed(|| black_box(&mut scratch).copy_from_slice(black_box(stream)));
    assert!(payload_bytes > 0, "frames must have come through");
    (with_decoding - copying) / frames as f64
}

/// Nanoseconds of one round, the best of five runs.
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn timed(mut round: impl FnMut()) -> f64 {
    let runs = (0..5).map(|_| {
        let start = Instant::now();
        for _ in 0..ROUNDS / 5 {
            round();
        }
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS / 5)
    });
    runs.fold(f64::INFINITY, f64::min)
}

fn masked_text(payload_bytes: usize) -> Vec<u8> {
    let mut frame = match u16::try_from(payload_bytes) {
        Ok(len @ 0..=125) => vec![0x81, 0x80 | len.to_be_bytes()[1]],
        Ok(len) => [&[0x81, 0xfe][..], &len.to_be_bytes()].concat(),
        Err(_) => Vec::new(),
    };
    frame.extend(KEY);
    frame.extend((0..payload_bytes).map(|_| b'a').zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
