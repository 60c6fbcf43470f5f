// Package metrics counts for the admin listener's /metrics and /status.
//
// Metrics implements engine.Metrics: its counters exist from the start, counting allocates
// nothing, and no client can make up a series. What others count already (the limiter, the
// synclog, the journal, repair, the logs) is asked for once a scrape, by way of the Observe
// methods, which its owner calls before the first Write.
//
// Everything but New and Observe… may be called from any goroutine.
package metrics
