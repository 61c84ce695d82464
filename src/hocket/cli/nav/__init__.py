"""Walk through worlds: collect what an expert does, let models walk, make questions."""
