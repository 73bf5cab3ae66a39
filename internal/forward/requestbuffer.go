package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Buffers reports whether the body of a request is to be read to its end before it is
// forwarded by r. Of a gRPC call it is not: its client may wait for an answer to a part of it.
func (r *Release) Buffers(in *http.Request) bool {
	if !r.Spec.Options.BufferRequests || !hasBody(in) || IsGRPCRequest(in) || !Forwardable(in) {
		return false
	}
	b, again := in.Body.(*requestBody)
	return !again || b.spool == nil
}

// Buffered is a request with a body that has been read to its end. It has to be closed when it
// has been answered.
type Buffered struct {
	Request *http.Request
	io.Closer
}

// Buffer reads the body of a request to its end, for [Release.Forward] of r or of another
// release. Nothing has been written to w if it fails. The request need not be counted on r, so
// that a client that takes its time holds up no drain.
func (r *Release) Buffer(w http.ResponseWriter, in *http.Request) (Buffered, error) {
	r.Traffic.buffering.Add(1)
	defer r.Traffic.buffering.Add(-1)
	EndAmbiguous(w, in)
	b := newRequestBody(in, w)
	kept := r.forwarder.spools.New(int64(r.Spec.Options.BufferMemory))
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := b.Read(buf[:])
		_, full := kept.Write(buf[:n])
		switch {
		case full != nil:
			_ = kept.Close()
			b.detach()
			return Buffered{}, wrap(ErrNoRoom, full)
		case err != nil && err != io.EOF:
			_ = kept.Close()
			b.detach()
			return Buffered{}, b.fault(in, err)
		case err == nil:
			continue
		}
		break
	}
	out := in.WithContext(in.Context()) // the server looks into its own request afterwards
	if kept.Size() == 0 {
		_ = kept.Close()
		out.Body, out.ContentLength = http.NoBody, 0
		out.Header = in.Header.Clone()
		out.Header.Del("Expect") // a target would have nothing to wait for
		return Buffered{out, kept}, nil
	}
	b.spool, b.kept = kept, kept.Reader()
	out.Body = b
	if len(in.Trailer) == 0 { // which only chunks can have behind them
		out.ContentLength = kept.Size()
	}
	return Buffered{out, kept}, nil
}

// goneWithin is how soon after a body has broken off a server tells that its client is gone.
const goneWithin = 100 * time.Millisecond

// fault returns what the client has done wrong whose body could not be read because of err.
func (b *requestBody) fault(in *http.Request, err error) error {
	switch {
	case b.failed.large():
		return wrap(ErrLargeBody, err)
	case b.failed.stalled():
		return wrap(ErrClientTimeout, err)
	case errors.Is(err, io.ErrUnexpectedEOF) || in.ProtoMajor > 1:
		if ended(in.Context(), goneWithin) {
			return ErrClientGone
		}
	case in.Context().Err() != nil:
		return ErrClientGone
	}
	return wrap(ErrBadRequest, err)
}

// ended reports whether ctx ends within a time.
func ended(ctx context.Context, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	}
}

// spooledBody is a body that has been read to its end, as one attempt to send it has it.
type spooledBody struct {
	io.Reader
	body *requestBody
}

// Close implements [io.Closer]. The body belongs to who has buffered it.
func (*spooledBody) Close() error { return nil }
