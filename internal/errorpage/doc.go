// Package errorpage makes the pages that a proxy answers with in place of an application: a
// built-in one, and templates that a service brings along. It knows nothing of services, and
// nothing of what has gone wrong.
package errorpage
