//! The limit of the machine, which every figure is printed beside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use throng_e2e::bench::run;

#[test]
fn the_bare_loop_says_what_a_write_costs_here() {
    let judged = run("floor", &["--subscribers", "500", "--seconds", "1"]).unwrap();
    let report = &judged.report;
    assert!(judged.kept, "{report}");
    assert!(report["floor_cpu_us_per_write"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(
        report["floor"].as_array().unwrap().len(),
        2,
        "a frame for each message, and one for each tick: {report}"
    );
}
