// Command racy has a data race.
package main

func main() {
	n, done := 0, make(chan bool)
	go func() {
		n++
		close(done)
	}()
	n++
	<-done
	println(n)
}
