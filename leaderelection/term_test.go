package leaderelection

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Programs that read numbers of JSON as float64 would change these tokens, if the tokens
// were numbers.
func TestToken_IsAStringInJSONAndYAMLAndLogs(t *testing.T) {
	for token, want := range map[Token]string{
		41: "41", 1<<53 + 1: "9007199254740993", 1753647547040015001: "1753647547040015001", 1 << 63: "9223372036854775808", math.MaxUint64: "18446744073709551615",
	} {
		type report struct {
			Term Token `json:"term,omitempty"`
		}
		text, err := json.Marshal(report{token})
		if err != nil || string(text) != `{"term":"`+want+`"}` {
			t.Errorf("the JSON of token %s is %s, %v", want, text, err)
		}
		document, err := yaml.Marshal(report{token})
		if err != nil || string(document) != `term: "`+want+"\"\n" {
			t.Errorf("the YAML of token %s is %s, %v", want, document, err)
		}
		var decoded report
		if err := yaml.Unmarshal(document, &decoded); err != nil || decoded.Term != token {
			t.Errorf("%s decodes to %d, %v", document, decoded.Term, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("Working", "token", token, "term", Term{Token: token})
		if !strings.Contains(log.String(), `"token":"`+want+`","term":"`+want+`"`) {
			t.Errorf("the log of token %s is %s", want, log.String())
		}
	}
	if text, err := json.Marshal(struct {
		Term Token `json:"term,omitempty"`
	}{}); err != nil || string(text) != "{}" {
		t.Errorf("the JSON without a token is %s, %v", text, err)
	}
}

func TestToken_RefusesTextThatIsNoToken(t *testing.T) {
	for _, text := range []string{"", "-1", "+41", " 41", "41 pod-1", "4_1", "0x29", "41.0", "1e3", "18446744073709551616", "1" + strings.Repeat("0", 99)} {
		token := Token(7)
		if err := token.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) || !strings.Contains(err.Error(), "18446744073709551615") || token != 7 {
			t.Errorf("%q decodes to %d, %v", text, token, err)
		}
	}
}
