package forward

import "testing"

func TestStrippingAPrefixKeepsTheBytesOfTheRest(t *testing.T) {
	for _, tt := range []struct{ path, prefix, want string }{
		{"/api/x", "/api", "/x"},
		{"/api", "/api", "/"},
		{"/api/", "/api", "/"},
		{"/api//x", "/api", "//x"},
		{"/api/x%2Fy", "/api", "/x%2Fy"},
		{"/api/x%2fy", "/api", "/x%2fy"},
		{"/api/%7Euser", "/api", "/%7Euser"},
		{"/%61pi/x", "/api", "/x"},
		{"/%61pi/%78%2F", "/api", "/%78%2F"},
		{"/a/b/c/", "/a/b", "/c/"},
		{"/a/b", "/a/b", "/"},
		{"/api/b%C3%BCcher", "/api", "/b%C3%BCcher"},
		{"/api/x;y=1,2:@!$&'()*+", "/api", "/x;y=1,2:@!$&'()*+"},
		{"/x%2Fy", "/", "/x%2Fy"},
	} {
		if got := stripPrefix(tt.path, tt.prefix); got != tt.want {
			t.Errorf("%s without %s is %s, want %s", tt.path, tt.prefix, got, tt.want)
		}
	}
}
