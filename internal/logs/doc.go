// Package logs opens and keeps the three logs: main, access, and the synclog's lines.
//
// Each sink (a file, a standard stream, syslog) has a Queue with a goroutine of its own,
// which alone writes to it: whoever logs never waits for whoever reads (R23). What finds no
// room is counted and told, and the synclog's owner hears when it can be made up for
// (OnSynclogLost). Open starts these goroutines, Close stops them and waits.
//
// All methods of Logs and Output may be called from any goroutine. The package knows the
// configuration's words for where a log goes, and nothing of what is logged.
package logs
