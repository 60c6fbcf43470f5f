// Package health keeps track of why each backend fails, so that an operator is told (R36): at the
// first failure, then at most once a minute with a count, and when it is over. The current failures
// and the last error can be read at any time.
//
// Its input is what the engine learns about backends (Well, Answered, Failed, Lagged), what the
// synclog is told (RefusedAlone), what probes find (Reached, Unreached), and once a second the limiter's
// view of what is waiting (Look). It is classified into a few causes, which metrics and alerts use;
// the text is the error's.
//
// Health does no I/O. Any goroutine may call its methods. Well, which is called for each request,
// is just a load as long as all is well. Options.Failing and Over are called without a lock, on the
// goroutine that reported the event, and must not block.
package health
