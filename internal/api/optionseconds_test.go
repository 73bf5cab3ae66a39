package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestSettingsThatAreDurationsAreNumbersToo(t *testing.T) {
	o := Options{HoldTimeout: Duration(1500 * time.Millisecond), DrainTimeout: Duration(time.Minute)}
	b, err := json.Marshal(o.Seconds())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"health_check_interval":0,"health_check_timeout":0,"deploy_timeout":0,"drain_timeout":60,"stream_timeout":0,"target_timeout":0,"hold_timeout":1.5,"writer_affinity":0}`
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}
