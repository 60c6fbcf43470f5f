// Package logs opens and maintains the three logs: the main log, the access log and the synclog.
//
// Each sink (a file, a standard stream, syslog) has a Queue whose own goroutine is the only one to
// write to it: nobody who logs waits for a reader (R23). Lines for which there is no room are
// counted and reported, and the synclog's owner is told when it can make up for them
// (OnSynclogLost). Open starts these goroutines; Close stops them and waits for them.
//
// Any goroutine may call any method of Logs and Output. The package knows how the configuration
// says where a log goes, and nothing about what is logged.
package logs
