//! Metrics of the Pods under test, over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// A Pod answers by then.
const WITHIN: Duration = Duration::from_secs(5);

/// The text at `<base>/metrics`; `base` is `http://host:port`. HTTP/1.0, so that the answer ends with the connection.
pub(super) fn fetch(base: &str) -> anyhow::Result<String> {
    let host = base.strip_prefix("http://").with_context(|| format!("{base} is no http:// URL"))?.trim_end_matches('/');
    let address = host.to_socket_addrs()?.next().with_context(|| format!("{host} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    // In one piece: who has read the first line may answer and be gone.
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of header")?;
    if head.split_ascii_whitespace().nth(1) != Some("200") {
        bail!("{base}/metrics answered {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// Sum of all series of a metric, whatever their labels; none if there are none: what was renamed is not zero.
pub(super) fn sum(text: &str, name: &str) -> Option<f64> {
    let series = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(series).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_series_of_a_name_are_summed() {
        let text =
            "# HELP a x\na_total{room=\"x\"} 3\na_total{room=\"} y\"} 4\na_total 0.5 17\nb_total 9\na_total_more 5\n";
        assert!((sum(text, "a_total").unwrap() - 7.5).abs() < 1e-9);
    }

    #[test]
    fn a_metric_that_is_not_there_is_not_zero() {
        assert_eq!(sum("reads_total 0\n", "reads_total"), Some(0.0));
        assert_eq!(sum("# TYPE reads_total counter\nreads_total_more 5\n", "reads_total"), None);
    }
}
