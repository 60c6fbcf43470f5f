// Package service is the proxy as described by one configuration: New constructs engine, backends,
// limiter, synclog, journal, repair and the admin listener, Start makes them serve, and Stop ends
// them in reverse order.
//
// They do not know each other. What one needs of another is an interface of its own, and the
// adapters in between are here: engineJournal (the journal in the engine's types), engineLog,
// syncRecorder, engineFence; and synclogBacklog, which makes up for the synclog's lines that
// found no room.
//
// Reload puts another configuration into the place of the one in use, as far as that can be done while
// requests run (reload.go).
//
// A Proxy belongs to its caller, who calls New, Start and Stop one after the other; any goroutine
// may call everything else. The goroutines belong to the parts, and Stop waits for them.
package service
