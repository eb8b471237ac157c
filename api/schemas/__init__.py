"""The words of the contract, one file per noun, and the OpenAPI document they become."""
