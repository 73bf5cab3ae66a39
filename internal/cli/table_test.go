package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func exampleTable() *table {
	t := &table{columns: []column{
		{title: "SERVICE", least: 12}, {title: "ROUTES", least: 10, dropped: 2}, {title: "RELEASE"}, {title: "TLS", least: 8, dropped: 3},
	}}
	t.add("app1.example.com", "app1.example.com,www.app1.example.com", "v14", "until 2027-02-20, Let's Encrypt R12")
	t.add("bücher", "bücher", "v1", "off")
	return t
}

func TestTableFitsTheWidth(t *testing.T) {
	for width, want := range map[int]string{
		0: `
SERVICE           ROUTES                                 RELEASE  TLS
app1.example.com  app1.example.com,www.app1.example.com  v14      until 2027-02-20, Let's Encrypt R12
bücher            bücher                                 v1       off
`,
		1000: `
SERVICE           ROUTES                                 RELEASE  TLS
app1.example.com  app1.example.com,www.app1.example.com  v14      until 2027-02-20, Let's Encrypt R12
bücher            bücher                                 v1       off
`,
		// The wide columns give way, until they are no wider than the next.
		80: `
SERVICE           ROUTES                     RELEASE  TLS
app1.example.com  app1.example.com,www.app…  v14      until 2027-02-20, Let's E…
bücher            bücher                     v1       off
`,
		// What has no room that is worth it goes.
		40: `
SERVICE         ROUTES           RELEASE
app1.example.…  app1.example.c…  v14
bücher          bücher           v1
`,
		22: `
SERVICE        RELEASE
app1.example…  v14
bücher         v1
`,
		10: `
SERVICE  …
app1.exam…
bücher   …
`,
	} {
		var out strings.Builder
		if err := exampleTable().print(&out, width); err != nil {
			t.Fatal(err)
		}
		if width > 10 && "\n"+out.String() != want {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, out.String(), want)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && n > width {
				t.Errorf("%d columns: a line has %d: %s", width, n, line)
			}
		}
	}
}
