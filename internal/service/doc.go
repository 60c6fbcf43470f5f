// Package service is the proxy as one configuration describes it: New constructs engine,
// backends, limiter, synclog, journal, repair and the admin listener, Start has them serve,
// and Stop ends them in reverse.
//
// They do not know each other. What one needs of another is an interface of its own, and the
// adapters in between are here: engineJournal (the journal in the engine's types), engineLog,
// syncRecorder, engineFence; and synclogBacklog, which makes up for the synclog's lines that
// found no room.
//
// Proxy is its caller's, who calls New, Start and Stop one after the other; everything else
// may be called from any goroutine. The goroutines belong to the parts, which Stop waits for.
package service
