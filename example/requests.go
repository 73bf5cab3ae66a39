package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"
)

// slow answers after ?d=, a second by default, unless the client leaves first.
func (a *app) slow(w http.ResponseWriter, r *http.Request) {
	d, err := durationParam(r, "d", time.Second, 0, 10*time.Minute)
	if err != nil {
		a.answer(w, http.StatusBadRequest, err.Error())
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		a.answer(w, http.StatusOK, "answered after "+d.String())
	case <-r.Context().Done():
	}
}

// upload reads the body to its end and tells what it was.
func (a *app) upload(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Allow", "POST, PUT")
		a.answer(w, http.StatusMethodNotAllowed, "use POST or PUT")
		return
	}
	hash := sha256.New()
	size, err := io.Copy(hash, r.Body)
	if err != nil {
		a.answer(w, http.StatusBadRequest, fmt.Sprintf("body broke off after %d bytes: %v", size, err))
		return
	}
	answerJSON(w, struct {
		identity
		Bytes  int64  `json:"bytes"`
		SHA256 string `json:"sha256"`
	}{a.identity(), size, hex.EncodeToString(hash.Sum(nil))})
}

// echo shows the request as it arrived. The target is the one of the request
// line, byte for byte.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, struct {
		identity
		Method  string      `json:"method"`
		Host    string      `json:"host"`
		Target  string      `json:"target"`
		Proto   string      `json:"proto"`
		Headers http.Header `json:"headers"`
	}{a.identity(), r.Method, r.Host, r.RequestURI, r.Proto, r.Header})
}

// durationParam reads a duration from the query, and refuses one out of bounds.
func durationParam(r *http.Request, key string, byDefault, lowest, highest time.Duration) (time.Duration, error) {
	value := r.URL.Query().Get(key)
	if value == "" {
		return byDefault, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < lowest || d > highest {
		return 0, fmt.Errorf("%s=%q is not a duration from %s to %s", key, value, lowest, highest)
	}
	return d, nil
}
