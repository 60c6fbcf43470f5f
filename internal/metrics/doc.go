// Package metrics keeps the counters for the admin listener's /metrics and /status.
//
// Metrics implements engine.Metrics: its counters exist from the start, counting allocates nothing,
// and no client can create a series. What others count already (the limiter, the synclog, the
// journal, repair, the logs) is read once per scrape from its Sources, which the owner sets
// (Observe) before the first Write.
//
// Any goroutine may call everything but New and Observe.
package metrics
