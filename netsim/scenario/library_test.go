package scenario

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLibraryParsesAndPrintsBack(t *testing.T) {
	list := Library()
	require.GreaterOrEqual(t, len(list), 20)
	for _, e := range list {
		t.Run(e.Name, func(t *testing.T) {
			text := e.Scenario.Print()
			again, err := Parse(e.Name+" printed", text)
			require.NoError(t, err, "%s", text)
			require.Equal(t, e.Scenario, again, "%s", text)
			require.Equal(t, string(text), string(again.Print()))
		})
	}
}

func TestLibraryFilesAreCalledLikeTheirScenarios(t *testing.T) {
	files, err := libraryFiles.ReadDir("library")
	require.NoError(t, err)
	for i, e := range Library() {
		require.Equal(t, files[i].Name(), e.Name+".yaml")
		require.NotContains(t, strings.TrimSuffix(e.About, "."), ". ", "%s: about is one sentence", e.Name)
	}
}
