// Package ledger is the journal as the rest of the proxy and its commands see it: opened according
// to the configuration, with backends as names instead of bits, as tasks for repair and as lines
// for the synclog.
//
// OpenJournal opens it for this process alone, and NamedJournal is repair's Journal over
// it. Whoever opens it closes it. All methods may be called from any
// goroutine.
package ledger
