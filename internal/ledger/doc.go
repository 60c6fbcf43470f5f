// Package ledger is the journal as the rest of the proxy and its commands see it: opened according
// to the configuration, with backends as names instead of bits, as tasks for repair and as lines
// for the synclog.
//
// OpenJournal opens it for this process alone, and NamedJournal implements repair's Journal on top
// of it. Whoever opens it must close it. Any goroutine may call all methods.
package ledger
