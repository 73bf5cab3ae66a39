package api

import "testing"

func TestStatusRanges(t *testing.T) {
	for s, want := range map[string]string{
		"200-299": "200-299", "200-399": "200-399", "200, 204 ,301": "200,204,301", "200 - 204": "200-204", "503": "503",
		"200-200": "200",
		"":        "", "200,": "", "299-200": "", "2xx": "", "100": "", "600": "", "200-": "", "-299": "", "200-204-299": "", "+200": "", "200 204": "",
	} {
		got, err := ParseStatusRanges(s)
		if got.String() != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", s, got, err, want)
		}
	}
	r, err := ParseStatusRanges("200-204,301")
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]bool{199: false, 200: true, 204: true, 205: false, 300: false, 301: true, 302: false} {
		if r.Contain(status) != want {
			t.Errorf("%s contain %d: %v", r, status, !want)
		}
	}
}
