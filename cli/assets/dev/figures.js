// What one client got in the last ten seconds.

const SECONDS = 10;

const now = () => performance.timeOrigin + performance.now();

export class Figures {
  constructor() {
    this.received = []; // [at, latency] of each message
    this.skipped = []; // [at, count] of each declared gap
  }

  message(message) {
    const at = now();
    // The server's clock is this machine's: time from the room's stamp to here.
    this.received.push([at, Math.max(0, at - message.at_ms)]);
    this.trim(at);
  }

  gap(gap) {
    this.skipped.push([now(), gap.to - gap.from + 1]);
  }

  trim(at) {
    const old = list => list.findIndex(([when]) => at - when < SECONDS * 1000);
    for (const list of [this.received, this.skipped]) {
      const first = old(list);
      list.splice(0, first < 0 ? list.length : first);
    }
  }

  // Rates a second and latencies in milliseconds; latencies are null when nothing came.
  read() {
    this.trim(now());
    const sorted = this.received.map(([, latency]) => latency).sort((a, b) => a - b);
    const at = share => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : null);
    const skipped = this.skipped.reduce((sum, [, count]) => sum + count, 0);
    return { perSecond: sorted.length / SECONDS, skippedPerSecond: skipped / SECONDS, p50: at(0.5), p99: at(0.99) };
  }
}
