#include "NpcSdkSettings.h"

FName UNpcSdkSettings::GetCategoryName() const
{
	return TEXT("Plugins");
}
