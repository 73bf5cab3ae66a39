package parachute

import (
	"errors"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/run"
	"github.com/parachute-proxy/parachute/internal/version"
)

// collector reads the engine whenever Prometheus asks. It holds no state of its
// own, so that a reload, which brings a new registry, loses no count.
type collector struct {
	engine *proxy.Engine
	// agent takes part in the fleet; nil without one.
	agent *fleet.Agent
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("parachute_"+name, help, labels, nil)
}

var (
	requestsTotal     = describe("requests_total", "Requests of the service that were answered, and streams that began, by method and class of the status. A method that is not known is OTHER.", "service", "method", "code")
	requestDuration   = describe("request_duration_seconds", "How long requests took until the end of the answer, or streams until they began.", "service")
	requestsInFlight  = describe("requests_in_flight", "Requests in flight, of all releases.", "service")
	requestsHeld      = describe("requests_held", "Requests that are held because no target can be reached.", "service")
	requestsBuffering = describe("requests_buffering", "Requests whose bodies are read at this moment, before they have a target.", "service")
	largeBodies       = describe("large_bodies_total", "Requests and answers whose bodies were larger than the service allows.", "service", "of")
	bufferedBytes     = describe("buffered_bytes", "Bytes of bodies that are buffered, in memory and in temporary files.", "place")
	bufferFull        = describe("buffer_full_total", "How often there was no room to buffer a body.")
	requestRetries    = describe("request_retries_total", "Attempts to send a request once more.", "service")
	requestBytes      = describe("request_bytes_total", "Bytes of request bodies, and of what clients said on upgraded connections.", "service")
	responseBytes     = describe("response_bytes_total", "Bytes of response bodies, and of what targets said on upgraded connections. An answer with an end counts when it ends.", "service")
	streamsOpen       = describe("streams_open", "Streams that are open, such as WebSockets.", "service")
	releasesDraining  = describe("releases_draining", "Old releases that still have traffic.", "service")
	rolloutWeight     = describe("rollout_weight_ratio", "Share of the clients that get the release that is brought into service, from 0 to 1; 1 while it is watched. Absent without a rollout.", "service", "phase")
	targetsByHealth   = describe("targets", "Targets of the active release, by health.", "service", "health")
	connectionsOpen   = describe("target_connections", "Connections to the targets of all releases.", "service")
	serviceBroken     = describe("service_broken", "1 if the state of the service could not be loaded, or its handlers not be made.", "service")
	certificateExpiry = describe("certificate_expiry_timestamp_seconds", "When the certificate of the host expires, as a Unix time.", "service", "host")
	certificateFailed = describe("certificate_failing", "1 if the certificate of the host could not be obtained or renewed when that was last tried.", "service", "host")
	fleetProxies      = describe("fleet_proxies", "Proxies of the fleet as this one sees them, by state. 0 without a fleet.", "state")
	fleetProblem      = describe("fleet_problem", "1 if this proxy does not follow its fleet: it is joining, has left, or does not reach the fleet's store. 0 without a fleet.")
	deploymentsTotal  = describe("deployments_total", "Deployments that have ended, by how.", "state")
	logLinesDropped   = describe("log_lines_dropped_total", "Log lines that were dropped because standard error was not read.")
	processGeneration = describe("process_generation", "How many processes have taken over from each other, this one included.")
	buildInfo         = describe("build_info", "Always 1; the labels say what is running.", "version", "goversion", "caddyversion")
)

func registerMetrics(ctx caddy.Context, e *proxy.Engine, agent *fleet.Agent) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	err := registry.Register(&collector{e, agent})
	if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); again {
		return nil
	}
	return err
}

// Describe implements prometheus.Collector.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requestsTotal, requestDuration, requestsInFlight, requestsHeld, requestsBuffering, largeBodies, bufferedBytes, bufferFull, requestRetries, requestBytes, responseBytes,
		streamsOpen, releasesDraining, rolloutWeight, targetsByHealth, connectionsOpen, serviceBroken, deploymentsTotal, fleetProxies, fleetProblem,
		logLinesDropped, certificateExpiry, certificateFailed, processGeneration, buildInfo,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	traffic := c.engine.Traffic()
	for _, s := range c.engine.Services() {
		broken, requests, streams, connections := 0, 0, 0, 0
		if s.Broken != "" {
			broken = 1
		}
		for _, r := range s.Releases() {
			requests += r.Requests
			streams += r.Streams
			for _, t := range r.Targets {
				connections += t.Connections
			}
		}
		gauge(serviceBroken, broken, s.Name)
		gauge(requestsInFlight, requests, s.Name)
		gauge(streamsOpen, streams, s.Name)
		gauge(connectionsOpen, connections, s.Name)
		gauge(releasesDraining, len(s.Draining), s.Name)
		if r := s.Rollout; r != nil {
			ch <- prometheus.MustNewConstMetric(rolloutWeight, prometheus.GaugeValue, r.Weight.Fraction(), s.Name, string(r.Phase))
		}
		if t := traffic[s.Name]; t != nil {
			collectTraffic(ch, s.Name, t)
		}
		for _, certificate := range s.Certificates {
			failing := 0
			if certificate.Error != "" {
				failing = 1
			}
			gauge(certificateFailed, failing, s.Name, certificate.Host)
			if certificate.NotAfter != nil {
				ch <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue,
					float64(certificate.NotAfter.Unix()), s.Name, certificate.Host)
			}
		}
		for health, n := range targetsOf(s) {
			gauge(targetsByHealth, n, s.Name, string(health))
		}
	}
	for state, n := range c.engine.DeploymentCounts() {
		counter(deploymentsTotal, n, string(state))
	}
	proxies, problem := fleetOf(c.agent)
	for state, n := range proxies {
		gauge(fleetProxies, n, string(state))
	}
	gauge(fleetProblem, problem)
	spools := c.engine.Spools()
	memory, disk := spools.Usage()
	ch <- prometheus.MustNewConstMetric(bufferedBytes, prometheus.GaugeValue, float64(memory), "memory")
	ch <- prometheus.MustNewConstMetric(bufferedBytes, prometheus.GaugeValue, float64(disk), "disk")
	counter(bufferFull, spools.Full())
	counter(logLinesDropped, run.DroppedLogLines())
	caddyVersion, _ := caddy.Version()
	gauge(processGeneration, thisProcess.number())
	gauge(buildInfo, 1, version.Version(), runtime.Version(), caddyVersion)
}

// collectTraffic tells what a service has carried.
func collectTraffic(ch chan<- prometheus.Metric, service string, t *forward.Traffic) {
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{service}, labels...)...)
	}
	t.Requests(func(method, class string, n int64) { counter(requestsTotal, n, method, class) })
	count, sum, atMost := t.Durations()
	ch <- prometheus.MustNewConstHistogram(requestDuration, count, sum, atMost, service)
	ch <- prometheus.MustNewConstMetric(requestsHeld, prometheus.GaugeValue, float64(t.Held()), service)
	ch <- prometheus.MustNewConstMetric(requestsBuffering, prometheus.GaugeValue, float64(t.Buffering()), service)
	requests, answers := t.Large()
	counter(largeBodies, requests, "request")
	counter(largeBodies, answers, "answer")
	counter(requestRetries, t.Retries())
	counter(requestBytes, t.Received())
	counter(responseBytes, t.Sent())
}

// fleetOf counts the proxies of the fleet by state. problem is 1 if this one does not follow it.
func fleetOf(agent *fleet.Agent) (proxies map[api.FleetState]int, problem int) {
	proxies = map[api.FleetState]int{api.FleetLive: 0, api.FleetJoining: 0, api.FleetGone: 0}
	if agent == nil {
		return proxies, 0
	}
	s := agent.Status()
	for _, m := range s.Members {
		proxies[m.State]++
	}
	if s.Problem != "" {
		problem = 1
	}
	return proxies, problem
}

// targetsOf counts the targets of the active release by health.
func targetsOf(s api.ServiceStatus) map[api.Health]int {
	counts := map[api.Health]int{api.HealthHealthy: 0, api.HealthFailing: 0, api.HealthUnverified: 0}
	if s.Active != nil {
		for _, t := range s.Active.Targets {
			counts[t.Health]++
		}
	}
	return counts
}
