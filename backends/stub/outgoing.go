package stub

import "fmt"

// send sends text at once.
func (c *conn) send(text string) bool {
	c.bw.WriteString(text)
	return c.flush()
}

// flush sends what was written; the error of an earlier write shows up here.
func (c *conn) flush() bool {
	if err := c.bw.Flush(); err != nil {
		c.lost()
		return false
	}
	return true
}

// answer sends a response as b wants it and reports whether the connection can be kept.
func (c *conn) answer(a answer, b *Behaviour) (keep bool) {
	if b.Raw != nil {
		a.status = 0
	}
	c.note(func(r *Request) { r.Stage, r.Status = StageAnswer, a.status })
	out := &outgoing{c: c, cut: b.Cut, at: b.CutAt}
	closes := b.NoLength || b.Then == SayClose ||
		c.req.Proto != "HTTP/1.1" || c.req.Headers.hasToken("Connection", "close")
	var ok bool
	if b.Raw != nil {
		ok = out.raw(b.Raw)
	} else {
		bare := c.req.Method == "HEAD" || a.status == 204 || a.status == 304
		chunked := (b.Chunked || b.Spaces > 0) && !b.NoLength
		ok = out.head(a.headOf(b, chunked, closes)) &&
			out.body(a.body, b, bare, chunked)
	}
	if !ok || !c.flush() {
		c.kill(false)
		return false
	}
	c.dropNext = b.Then == DropNext
	c.note(func(r *Request) {
		r.Answered = true
		c.s.counts.Answered++
	})
	return !closes && b.Then != FinAfter && !c.killed()
}

// outgoing sends a response and cuts it where requested.
type outgoing struct {
	c   *conn
	cut Cut
	at  int64 // bytes of the body until the cut
}

// doCut cuts and reports whether to go on with the response nevertheless.
func (o *outgoing) doCut() bool {
	kind := o.cut
	o.cut = NoCut
	if !o.c.flush() {
		return false
	}
	if kind == CutHang {
		return o.c.hold(nil, o.c.ended)
	}
	o.c.kill(kind == CutReset)
	return false
}

func (o *outgoing) head(head string) bool {
	if o.cut != NoCut && o.at == NoAnswer && !o.doCut() {
		return false
	}
	if o.cut != NoCut && o.at == MidHead {
		o.c.bw.WriteString(head[:len(head)/2])
		if !o.doCut() {
			return false
		}
		head = head[len(head)/2:]
	}
	o.c.bw.WriteString(head)
	return true
}

func (o *outgoing) raw(raw []byte) bool {
	return o.head("") && o.piece(raw) && (o.cut == NoCut || o.doCut())
}

func (o *outgoing) body(body []byte, b *Behaviour, bare, chunked bool) bool {
	for range b.Spaces {
		if !bare && !o.c.send("1\r\n \r\n") {
			return false
		}
	}
	if b.BodyGate != nil && (!o.c.flush() || !o.c.hold(b.BodyGate, o.c.ended)) {
		return false
	}
	if bare {
		body, chunked = nil, false
	}
	for len(body) > 0 {
		n := len(body)
		if chunked {
			n = min(n, ChunkSize)
			if o.cut != NoCut && o.at == 0 && !o.doCut() { // between two chunks
				return false
			}
			fmt.Fprintf(o.c.bw, "%x\r\n", n)
		}
		if !o.piece(body[:n]) {
			return false
		}
		if chunked {
			o.c.bw.WriteString("\r\n")
		}
		body = body[n:]
	}
	if o.cut != NoCut && !o.doCut() {
		return false
	}
	if chunked {
		o.c.bw.WriteString("0\r\n\r\n")
	}
	return true
}

// piece sends a piece of the body, up to the cut if that is within it.
func (o *outgoing) piece(p []byte) bool {
	if o.cut != NoCut && o.at < int64(len(p)) {
		o.c.bw.Write(p[:o.at])
		if rest := p[o.at:]; o.doCut() {
			p = rest
		} else {
			return false
		}
	}
	o.at -= int64(len(p))
	_, err := o.c.bw.Write(p)
	return err == nil || o.c.flush()
}
