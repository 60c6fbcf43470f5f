// Package ledger is the journal as the rest of the proxy and its commands see it: opened as
// the configuration says, with backends by their names instead of bits, as tasks for repair
// and as lines for the synclog.
//
// Open… open the journal and the table of writes under way for this process alone; what a
// killed process has left in the table goes into the journal then. NamedJournal is repair's
// Journal over it. Whoever opens them closes them. All methods may be called from any
// goroutine.
package ledger
