package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout is how long one request to NATS may take. A leader that is gone does not answer, and the next
// one does not know of requests to it.
const requestTimeout = 2 * time.Second

// bucket is one of JetStream's key-value buckets, which `nats kv` shows as well. It is not used through the
// client's KeyValue, because that has any server of the bucket answer reads, also one that is behind.
type bucket struct {
	js   jetstream.JetStream
	name string
	// keeps says that it is on disk, and must not be made anew once it was used.
	keeps bool
	// history is how many values of a key it has. Those of a bucket with one can have an end (TTL).
	history int64
	// replicas is on how many servers it is.
	replicas int
	// created is when NATS has made it; zero if any bucket with the name will do.
	created time.Time
}

func (b bucket) stream() string { return "KV_" + b.name }

// subject returns that of a key.
func (b bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// header fields of a message that deletes a key.
const (
	operationField = "KV-Operation"
	deletion       = "DEL"
)

func isDeletion(h nats.Header) bool { return h.Get(operationField) != "" }

// make makes the bucket, unless there is one.
func (b bucket) make(ctx context.Context) error {
	config := jetstream.StreamConfig{
		Name: b.stream(), Description: "The fleet of parachute", Subjects: []string{b.subject(">")},
		Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, Replicas: b.replicas, MaxMsgs: -1, MaxBytes: -1,
		MaxMsgsPerSubject: b.history, AllowMsgTTL: b.history == 1,
	}
	if !b.keeps {
		config.Storage = jetstream.MemoryStorage
	}
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	_, err := b.js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil // with other settings, which are the operator's choice
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == tooFewServers {
		return fmt.Errorf("a new fleet begins when %d of its NATS servers reach each other, and not all of them do yet (%w)", b.replicas, err)
	}
	if err != nil {
		return fmt.Errorf("making the bucket %s: %w", b.name, err)
	}
	return nil
}

// tooFewServers is the code of NATS's error for a bucket on more servers than there are: JSClusterNoPeersErrF in its
// jetstream_errors_generated.go. Its client has no name for it.
const tooFewServers jetstream.ErrorCode = 10005

// find asks NATS for the stream of the bucket. One that was made anew in its place is not it.
func (b bucket) find(ctx context.Context) (jetstream.Stream, error) {
	stream, err := b.js.Stream(ctx, b.stream())
	if err == nil && !b.created.IsZero() && !stream.CachedInfo().Created.Equal(b.created) {
		return nil, jetstream.ErrStreamNotFound
	}
	return stream, err
}

// put writes a value, and returns the number of its message. Its errors, other than a conflict, mean that it may
// have been written.
func (b bucket) put(ctx context.Context, key string, data []byte, opts ...jetstream.PublishOpt) (uint64, error) {
	return b.publish(ctx, &nats.Msg{Subject: b.subject(key), Data: data}, opts...)
}

// remove deletes a key, which need not be there.
func (b bucket) remove(ctx context.Context, key string) error {
	_, err := b.publish(ctx, &nats.Msg{Subject: b.subject(key), Header: nats.Header{operationField: {deletion}}})
	return err
}

func (b bucket) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, m, append(opts, jetstream.WithExpectStream(b.stream()))...)
	if err != nil {
		return 0, explain(err)
	}
	return ack.Sequence, nil
}

// read asks the leader of the bucket for a value; nil if there is none.
func (b bucket) read(ctx context.Context, key string) ([]byte, error) {
	m, err := b.last(ctx, key)
	if m == nil {
		return nil, err
	}
	return m.Data, nil
}

// last asks the leader of the bucket for the newest message of a key; nil if it has no value.
func (b bucket) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := b.find(ctx)
	if err != nil {
		return nil, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, b.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && isDeletion(m.Header) {
		return nil, nil
	}
	return m, err
}

// keys returns those that a pattern matches, in which > stands for one or more tokens.
func (b bucket) keys(ctx context.Context, pattern string) (keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	stream, err := b.find(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(b.subject(pattern)))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		key, _ := strings.CutPrefix(subject, b.subject(""))
		keys = append(keys, key)
	}
	return keys, nil
}

// purge removes what a key had up to a message, and leaves no trace of it.
func (b bucket) purge(ctx context.Context, key string, number uint64) error {
	return b.purgeAll(ctx, key, jetstream.WithPurgeSequence(number+1))
}

// purgeAll removes what the keys have that a pattern matches, and leaves no trace of it.
func (b bucket) purgeAll(ctx context.Context, pattern string, opts ...jetstream.StreamPurgeOpt) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.stream())
	if err != nil {
		return err
	}
	return stream.Purge(ctx, append(opts, jetstream.WithPurgeSubject(b.subject(pattern)))...)
}

// errNoAnswer means that a request has got no answer in time. It may have had its effect.
var errNoAnswer = errors.New("NATS has not answered; are most of its servers up, and do they reach each other?")

// explain returns an error of the client as one for operators.
func explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("%w (%w)", errNoAnswer, err)
	}
	return err
}

// isConflict reports whether an error of a write says that there is another value than the one that was
// expected, and nothing was written.
func isConflict(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// token makes a name one that a key can have as one of its tokens: what is no letter, digit,
// hyphen or underscore becomes its code. Different names become different tokens.
func token(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// untoken returns the name that [token] has made one of.
func untoken(t string) (string, error) {
	var b strings.Builder
	for t != "" {
		if t[0] != '=' {
			b.WriteByte(t[0])
			t = t[1:]
			continue
		}
		if len(t) < 3 {
			return "", fmt.Errorf("%q ends within a code", t)
		}
		code, err := strconv.ParseUint(t[1:3], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(code))
		t = t[3:]
	}
	return b.String(), nil
}
