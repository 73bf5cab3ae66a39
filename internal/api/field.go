package api

import "fmt"

// Field is a setting in a message: its place in the JSON of a request, such as
// "tls.redirect". See [Setting.Place]. It is written between backquotes, so that it can be
// told from a word.
type Field string

func (f Field) String() string { return "`" + string(f) + "`" }

// Is returns f with a value, which is written as "`hosts=a.example.com`".
func (f Field) Is(value string) fmt.Stringer { return fieldValue{f, value} }

type fieldValue struct {
	field Field
	value string
}

func (v fieldValue) String() string { return "`" + string(v.field) + "=" + v.value + "`" }

// Operation is something else that can be asked of the proxy, in a message: "`remove shop`".
type Operation string

func (o Operation) String() string { return "`" + string(o) + "`" }

// Advice says what to do about a failure, and names the settings in it. See [Error.Fields].
type Advice struct {
	Text   string
	Fields []Field
}

// Advise returns advice. Each [Field] among args is one that it names.
func Advise(format string, args ...any) Advice {
	return Advice{Text: fmt.Sprintf(format, args...), Fields: fieldsIn(args)}
}

// fieldsIn returns the settings among the arguments of a message.
func fieldsIn(args []any) (fields []Field) {
	for _, arg := range args {
		switch f := arg.(type) {
		case Field:
			fields = append(fields, f)
		case fieldValue:
			fields = append(fields, f.field)
		case Advice:
			fields = append(fields, f.Fields...)
		}
	}
	return fields
}

func (a Advice) String() string { return a.Text }
