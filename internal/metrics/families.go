package metrics

// Family is what one metric's samples have in common. docs/METRICS.md has a row for each, which a test
// compares.
type Family struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels string // their names, separated by commas
	Help   string
}

// The kinds of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Families are all metrics but those of the process and of Go's runtime (go_, process_), in the order
// in which they are shown.
var Families = []Family{
	{"akubra_build_info", gauge, "version", "Always 1. The label is the proxy's version."},

	{"akubra_requests_begun_total", counter, "", "Requests whose head has come."},
	{"akubra_requests_total", counter, "method,code", "Requests that were answered, by method and class of status."},
	{"akubra_request_bytes_total", counter, "", "Bytes of bodies that clients have sent."},
	{"akubra_first_answer_seconds", histogram, "", "How long a request took until it was decided whose answer its client gets."},
	{"akubra_last_leg_seconds", histogram, "", "How long a request took until no backend was busy with it any more."},
	{"akubra_proxy_errors_total", counter, "reason,code", "Answers that were errors of the proxy's own, not a backend's."},
	{"akubra_reads_total", counter, "event", "What was done about reads: backends that lag behind avoided, another one asked, an answer resumed."},
	{"akubra_ring_waits_total", counter, "", "Requests whose client had to wait for a backend to take the body."},
	{"akubra_ring_wait_seconds_total", counter, "", "How long these have waited."},
	{"akubra_requests_in_flight", gauge, "", "Requests that a client waits for, or a backend is still busy with."},
	{"akubra_requests_waiting", gauge, "", "Requests that a client waits for: akubra_requests_limit bounds these."},
	{"akubra_requests_limit", gauge, "", "How many requests clients may wait for at once (MaxConcurrentRequests, or what the open files allow)."},
	{"akubra_deletes_memory_bytes", gauge, "", "Memory that lists of objects to delete take."},
	{"akubra_deletes_memory_limit_bytes", gauge, "", "How much they may take together."},

	{"akubra_client_connections", gauge, "", "Open connections of clients."},
	{"akubra_client_connections_max", gauge, "", "How many there may be."},
	{"akubra_accept_failures_total", counter, "", "How often no connection could be accepted, for a time."},
	{"akubra_client_connections_cut_total", counter, "reason", "Connections of clients that were refused or cut, by the reason."},

	{"akubra_backend_up", gauge, "backend", "1 if the backend is in the pool and answers."},
	{"akubra_backend_maintained", gauge, "backend", "1 if the backend is in maintenance."},
	{"akubra_backend_demotions_total", counter, "backend", "How often the backend was taken out of the pool."},
	{"akubra_backend_busy", gauge, "backend", "Connections to the backend with a request under way."},
	{"akubra_backend_stalled", gauge, "backend", "Of these, the ones that make no progress, or lag behind."},
	{"akubra_backend_limit", gauge, "backend", "How many may be busy before further requests are deferred: it adapts to the backend's lag."},
	{"akubra_backend_lag_floor_seconds", gauge, "backend", "How long the backend's answers come after the client's while nothing queues on the way; not shown before it is known."},
	{"akubra_backend_round_trip_seconds", gauge, "backend", "The round trip on an idle connection, as the system measures it (Linux); not shown where there is none."},
	{"akubra_connections_limit", gauge, "", "How many connections to all backends may be busy (ConnLimit, or what the open files allow)."},
	{"akubra_backend_results_total", counter, "backend,class,result", "How requests to the backend have ended, by class and result."},
	{"akubra_backend_first_byte_seconds", histogram, "backend,class", "How long the backend's answers took until their head had come."},
	{"akubra_backend_duration_seconds", histogram, "backend,class", "How long the backend's answers took until their end."},
	{"akubra_backend_sent_bytes_total", counter, "backend,class", "Bytes sent to the backend, heads with them."},
	{"akubra_backend_received_bytes_total", counter, "backend,class", "Bytes that the backend has sent, heads with them."},
	{"akubra_backend_bytes_total", counter, "backend", "Bytes sent to the backend: the sum of akubra_backend_sent_bytes_total."},
	{"akubra_legs_total", counter, "backend,outcome", "How requests to the backend have ended, as far as the decision goes."},
	{"akubra_divergences_total", counter, "backend,op,reason", "Divergences, by the backend that lacks something and the reason."},

	{"akubra_backend_held_seconds_total", counter, "backend", "How long clients with large bodies were held back by this backend alone."},
	{"akubra_backend_lane_deferred_total", counter, "backend", "Large bodies that the backend had no room for, so that they were deferred if another one had it."},
	{"akubra_backend_lane_over", gauge, "backend", "1 while more large bodies are wanted than the backend carries, so that they are deferred."},
	{"akubra_backend_lane_bodies", gauge, "backend", "Large bodies under way to the backend."},
	{"akubra_backend_lane_rate_bytes", gauge, "backend", "Bytes per second of large bodies that the backend carries, as measured; 0 before it has held anybody back."},

	{"akubra_backend_errors_total", counter, "backend,cause", "Failures of the backend, by cause."},
	{"akubra_backend_failing", gauge, "backend,cause", "1 while the backend fails for this cause."},
	{"akubra_backend_failure_info", gauge, "backend,cause,means,error", "1 while the backend fails, with the error's words and what they mean."},
	{"akubra_backend_last_error_timestamp_seconds", gauge, "backend", "When the backend failed last; not shown if it never has."},

	{"akubra_synclog_records_total", counter, "", "Lines written to the synclog."},
	{"akubra_synclog_failed_total", counter, "", "Lines that could not be written to it."},
	{"akubra_log_lost_lines_total", counter, "log,output", "Lines that an output was too slow for."},
	{"akubra_log_waiting_lines", gauge, "log,output", "Lines that wait for an output."},

	{"akubra_journal_pending", gauge, "backend", "Keys that the backend is owed."},
	{"akubra_backend_owed_bytes", gauge, "backend", "Bytes of the objects that the backend is owed; estimated from a sample where there are many."},
	{"akubra_backend_owed_oldest_seconds", gauge, "backend", "Age of the oldest key that the backend is owed; 0 if there is none."},
	{"akubra_journal_keys", gauge, "", "Keys that any backend is owed."},
	{"akubra_journal_open", gauge, "", "Acknowledged writes that a backend is still busy with."},
	{"akubra_journal_parked", gauge, "", "Keys that wait for a person."},
	{"akubra_journal_parked_keys", gauge, "reason", "Keys that wait for a person, by the reason."},
	{"akubra_journal_gone", gauge, "", "Keys that are owed to a backend which is no longer configured."},
	{"akubra_journal_segments", gauge, "", "Files of the journal."},
	{"akubra_journal_bytes", gauge, "", "Their size."},
	{"akubra_journal_oldest_seconds", gauge, "", "Age of about the oldest key that is owed; 0 if there is none."},
	{"akubra_journal_failed", gauge, "", "1 if the journal cannot be written any more."},
	{"akubra_journal_written_total", counter, "", "Records written."},
	{"akubra_journal_batches_total", counter, "", "Writes to the journal's files, of one or more records each."},
	{"akubra_journal_syncs_total", counter, "", "How often the journal's files were synced to the disk."},
	{"akubra_journal_sync_seconds_total", counter, "", "How long that has taken: divided by akubra_journal_syncs_total it is the average."},
	{"akubra_journal_failures_total", counter, "", "Writes and syncs of the journal that have failed."},
	{"akubra_journal_dropped_total", counter, "", "Writes that were not recorded since the journal failed (OnJournalError: continue)."},
	{"akubra_journal_damaged_total", counter, "", "Damaged places found in the journal."},
	{"akubra_data_free_bytes", gauge, "", "Room left on the file system of DataDir."},
	{"akubra_data_size_bytes", gauge, "", "Size of that file system."},

	{"akubra_repair_repaired_total", counter, "", "Keys that were brought back in sync by this process."},
	{"akubra_repair_failed_total", counter, "", "Attempts that have failed."},
	{"akubra_repair_parked_total", counter, "", "Keys that were given up until a person decides."},
	{"akubra_repair_bytes_total", counter, "", "Bytes of content copied."},
	{"akubra_repair_backend_out", gauge, "backend", "1 if repair leaves the backend alone for now."},
	{"akubra_verify_timestamp_seconds", gauge, "", "When the last verify ended; not shown if there was none with this DataDir."},
	{"akubra_verify_complete", gauge, "", "1 if it has compared all buckets to their ends."},
	{"akubra_verify_compared", gauge, "", "Keys that it has compared."},
	{"akubra_verify_differences", gauge, "", "Keys that it has found to differ."},
	{"akubra_verify_errors", gauge, "", "Keys that it could not compare."},

	{"akubra_certificate_expiry_timestamp_seconds", gauge, "use,key", "When a certificate expires: the listener's, the one that a backend has shown last (backend), the first of the backends' authorities (ca), or the one that is shown to backends (client). Key is where it is configured, or the backend."},
}
